// Bulk copies: plain ones, and tensor copies as CUtensorMap describes them.

#include <algorithm>
#include <cstring>

#include "abi.h"
#include "async.h"
#include "global.h"
#include "race.h"
#include "report.h"
#include "scheduler.h"

namespace emu {

constexpr unsigned bulk_alignment = 16, tensor_alignment = 128;

// The 16-byte chunk of an address moves by the bits above the widest swizzle's span.
unsigned swizzled(unsigned address, unsigned span) {
  if (span == 0) return address;
  const unsigned chunks = span / 16;
  return address ^ (address >> 7 & (chunks - 1)) << 4;
}

// Consecutive bytes of a box along dimension 0: `offset` from the box's start in shared memory.
struct Run {
  unsigned offset, bytes;
  unsigned char* at;
};

// Elements of the box along a dimension. The innermost has no step.
static unsigned box_extent(const EmuTensorMap& map, unsigned d) {
  return d ? (map.box[d] + map.steps[d] - 1u) / map.steps[d] : map.box[d];
}

// The f32 at `at` becomes the nearest tf32, of two that are as near the even one. Infinities stay
// what they are, and every NaN becomes the same.
static void round_to_tf32(unsigned char* at) {
  std::uint32_t bits;
  std::memcpy(&bits, at, sizeof bits);
  if (bits << 1 > 0xff000000) {
    bits = 0x7fffe000;
  } else if (bits << 1 != 0xff000000) {
    bits = (bits + 0xfff + (bits >> 13 & 1)) & 0xffffe000;
  }
  std::memcpy(at, &bits, sizeof bits);
}

static unsigned box_bytes(const EmuTensorMap& map) {
  unsigned bytes = map.element_bytes;
  for (unsigned d = 0; d < map.rank; d++) bytes *= box_extent(map, d);
  return bytes;
}

// The parts of the box at `at` that lie inside the tensor, along dimension 0 in whole `unit` bytes.
static std::vector<Run> runs_of(const EmuTensorMap& map, const int* at, unsigned unit) {
  std::vector<Run> runs;
  const unsigned width = map.box[0], element = map.element_bytes;
  const unsigned count = box_bytes(map) / element / width;
  const auto low = std::clamp<long long>(-static_cast<long long>(at[0]), 0, width);
  const auto end = static_cast<long long>((map.extents[0] * element + unit - 1) / unit * unit / element);
  const auto high = std::clamp<long long>(end - at[0], low, width);
  for (unsigned number = 0; number < count && high > low; number++) {
    unsigned long long address =
        map.address + static_cast<unsigned long long>(at[0] + low) * element;
    bool inside = true;
    unsigned rest = number;
    for (unsigned d = 1; d < map.rank; d++) {
      const unsigned extent = box_extent(map, d);
      const long long position = at[d] + static_cast<long long>(rest % extent) * map.steps[d];
      rest /= extent;
      inside &= position >= 0 && position < static_cast<long long>(map.extents[d]);
      address += static_cast<unsigned long long>(position) * map.strides[d - 1];
    }
    if (inside) {
      runs.push_back({(number * width + static_cast<unsigned>(low)) * element,
                      static_cast<unsigned>(high - low) * element,
                      reinterpret_cast<unsigned char*>(address)});
    }
  }
  return runs;
}

static const EmuTensorMap& check_map(const void* pointer, const int* at, unsigned rank,
                                     unsigned shared_at, int line) {
  const auto& map = *static_cast<const EmuTensorMap*>(pointer);
  if (map.rank != rank) {
    fail_here("operands", line, text("%u coordinates for a tensor map of rank %u", rank, map.rank));
  }
  if (map.swizzle && map.box[0] * map.element_bytes != map.swizzle) {
    fail_here("operands", line,
              text("a box with rows of %u bytes under a swizzle of %u: hardware does not pack them",
                   map.box[0] * map.element_bytes, map.swizzle));
  }
  // With boxes that start at any element an H200 stopped with an illegal instruction; those of
  // kernels that work start at multiples of 16 bytes.
  if (at[0] % static_cast<int>(bulk_alignment / map.element_bytes)) {
    fail_here("alignment", line,
              text("the box starts at element %d of the innermost dimension: not at a multiple of "
                   "16 bytes",
                   at[0]));
  }
  check_shared(shared_at, box_bytes(map), tensor_alignment, line, "copies a box of");
  return map;
}

static void check_bulk(const void* global, unsigned bytes, int line) {
  if (bytes % bulk_alignment || reinterpret_cast<std::uintptr_t>(global) % bulk_alignment) {
    fail_here("alignment", line,
              text("a bulk copy of %u bytes at an address that is %u modulo 16", bytes,
                   static_cast<unsigned>(reinterpret_cast<std::uintptr_t>(global) % 16)));
  }
}

static void check_source(const void* from, unsigned bytes, int line) {
  Buffer& buffer = find_buffer(from, bytes, line, "loads");
  const auto offset = static_cast<std::size_t>(static_cast<const unsigned char*>(from) - buffer.base);
  check_race(buffer, offset, bytes, Access::read, line);
}

// A load for every CTA of `ctas`: its destination is hidden until `fill` has put the data there.
static void issue_load(unsigned to, unsigned bytes, unsigned barrier_at, unsigned ctas, int line,
                       const std::function<void(SharedMemory&)>& fill) {
  const unsigned offset = to - EMU_SHARED_BASE;
  const unsigned mask = ctas ? ctas : 1u << emu_cluster_rank();
  for (unsigned cta = 0; cta < warp_size; cta++) {
    if (!(mask >> cta & 1)) continue;
    Block& block = cluster_block(cta, line);
    MBarrier& barrier = find_mbarrier(block, barrier_at, line, true);
    const std::uint32_t phase = barrier.phase;
    barrier.loaded = phase + 1;
    barrier.load_line = line;
    expect_idle(block, offset, bytes, line);
    check_async_race(block, offset, bytes, {block.index, barrier.agent, phase + 1}, Access::write,
                     line);
    block.shared.poison(offset, bytes);
    block.shared.set(offset, bytes, Content::in_flight);
    issue({[&block, &barrier, fill, offset, bytes, phase, line] {
             if (barrier.phase != phase) {
               fail("mbarrier", line,
                    "a load lands after its mbarrier's phase was completed: too few bytes expected");
             }
             fill(block.shared);
             block.shared.set(offset, bytes, Content::defined);
             complete_bytes(barrier, bytes);
           },
           &block, offset, bytes, line});
  }
}

// What a store takes from shared memory has been written there.
static void expect_defined(unsigned offset, int line) {
  const Content content = current->block->shared.contents[offset / granule_bytes];
  if (content == Content::defined) return;
  fail_here(kind_of(content), line,
            text("stores byte %u of shared memory, %s", offset, obstacle(content)));
}

// A store reads shared memory and writes global memory at times of its own.
static void issue_store(unsigned offset, unsigned bytes, int line, std::function<void()> write) {
  Thread& thread = *current;
  Block& block = *thread.block;
  BulkGroups& bulk = thread.bulk;
  if (!bulk.agent) bulk.agent = new_agent(block, "a bulk store of " + describe(thread));
  bulk.line = line;
  const std::uint32_t number = bulk.open_number();
  bulk.group(number).issued++;
  bulk.group(number).unfinished++;
  check_async_race(block, offset, bytes, {block.index, bulk.agent, number}, Access::read, line);
  issue({[&thread, number, write = std::move(write)] {
           write();
           thread.bulk.group(number).unfinished--;
           if (thread.bulk.waiting) {
             thread.bulk.waiting = false;
             make_ready(thread);
           }
         },
         &block, 0, 0, line});
}

}  // namespace emu

using namespace emu;

extern "C" {

void emu_tensor_load(unsigned to, const void* pointer, unsigned barrier, const int* at,
                     unsigned rank, unsigned ctas, int line) {
  const EmuTensorMap map = check_map(pointer, at, rank, to, line);
  const unsigned bytes = box_bytes(map), offset = to - EMU_SHARED_BASE;
  const std::vector<Run> runs = runs_of(map, at, map.element_bytes);
  for (const Run& run : runs) check_source(run.at, run.bytes, line);
  issue_load(to, bytes, barrier, ctas, line, [map, runs, bytes, offset](SharedMemory& shared) {
    std::vector<unsigned char> box(bytes);
    // The NaN that an H100 fills with, whatever the type: every 2 bytes are 0x7ff7.
    for (unsigned i = 0; map.fill_nan && i < bytes; i++) box[i] = i % 2 ? 0x7f : 0xf7;
    for (const Run& run : runs) std::memcpy(box.data() + run.offset, run.at, run.bytes);
    for (unsigned i = 0; map.tf32 && i < bytes; i += 4) round_to_tf32(box.data() + i);
    for (unsigned i = 0; i < bytes; i++) shared.data[swizzled(offset + i, map.swizzle)] = box[i];
  });
}

void emu_tensor_store(const void* pointer, unsigned from, const int* at, unsigned rank, int line) {
  const EmuTensorMap map = check_map(pointer, at, rank, from, line);
  for (unsigned d = 1; d < rank; d++) {
    if (at[d] < 0) {
      fail_here("operands", line,
                text("stores a box from %d on in dimension %u: an H100 stops there", at[d], d));
    }
  }
  const unsigned offset = from - EMU_SHARED_BASE;
  const std::vector<Run> runs = runs_of(map, at, bulk_alignment);
  for (const Run& run : runs) {
    check_bulk_write(run.at, run.bytes, line);
    for (unsigned i = 0; i < run.bytes; i += granule_bytes) {
      expect_defined(swizzled(offset + run.offset + i, map.swizzle), line);
    }
  }
  const unsigned char* data = current->block->shared.data;
  issue_store(offset, box_bytes(map), line, [map, runs, offset, data] {
    for (const Run& run : runs) {
      for (unsigned i = 0; i < run.bytes; i++) {
        run.at[i] = data[swizzled(offset + run.offset + i, map.swizzle)];
      }
    }
  });
}

void emu_bulk_load(unsigned to, const void* from, unsigned bytes, unsigned barrier, int line) {
  check_bulk(from, bytes, line);
  const unsigned offset = check_shared(to, bytes, bulk_alignment, line, "loads");
  check_source(from, bytes, line);
  issue_load(to, bytes, barrier, 0, line, [from, bytes, offset](SharedMemory& shared) {
    std::memcpy(shared.data + offset, from, bytes);
  });
}

void emu_bulk_store(void* to, unsigned from, unsigned bytes, int line) {
  check_bulk(to, bytes, line);
  const unsigned offset = check_shared(from, bytes, bulk_alignment, line, "stores");
  check_bulk_write(to, bytes, line);
  for (unsigned i = 0; i < bytes; i += granule_bytes) expect_defined(offset + i, line);
  const unsigned char* data = current->block->shared.data;
  issue_store(offset, bytes, line,
              [to, offset, bytes, data] { std::memcpy(to, data + offset, bytes); });
}

void emu_bulk_commit(int) { current->bulk.groups.emplace_back(); }

void emu_bulk_wait(unsigned pending, int read, int line) {
  BulkGroups& bulk = current->bulk;
  const std::uint32_t end = bulk.open_number() > pending ? bulk.open_number() - pending : 1;
  for (std::uint32_t number = bulk.first; number < end; number++) {
    while (bulk.group(number).unfinished) {
      bulk.waiting = true;
      suspend({"a wait for bulk group", line, number});
    }
  }
  bulk.waited = std::max(bulk.waited, end - 1);
  // What was only read may still have to be written: the thread must wait for that, too.
  if (!read) bulk.forget_before(end);
  if (end > 1 && bulk.agent) know(*current, bulk.agent, end - 1);
}
}
