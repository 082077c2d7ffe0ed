#include "shared.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "abi.h"
#include "report.h"
#include "scheduler.h"

namespace emu {

void SharedMemory::resize(unsigned size) {
  constexpr unsigned alignment = 1024;  // what the widest swizzle asks of its base
  bytes = size;
  storage.resize(size + alignment);
  auto address = reinterpret_cast<std::uintptr_t>(storage.data());
  data = storage.data() + (alignment - address % alignment) % alignment;
  contents.assign((size + granule_bytes - 1) / granule_bytes, Content::undefined);
  poison(0, size);
  if (races_on) cells.resize(size);
}

void SharedMemory::poison(unsigned offset, unsigned size) {
  // A NaN as bf16 and as f32.
  constexpr std::uint16_t nan = 0x7fc1;
  for (unsigned i = 0; i + granule_bytes <= size; i += granule_bytes) {
    std::memcpy(data + offset + i, &nan, granule_bytes);
  }
}

void SharedMemory::set(unsigned offset, unsigned size, Content content) {
  std::memset(contents.data() + offset / granule_bytes, static_cast<int>(content),
              (size + granule_bytes - 1) / granule_bytes);
}

const char* obstacle(Content content) {
  switch (content) {
    case Content::undefined: return "which nobody has written";
    case Content::defined: return "which is defined";
    case Content::in_flight: return "to which a copy is under way";
    case Content::mbarrier: return "where an mbarrier lies";
  }
  return "";
}

const char* kind_of(Content content) {
  switch (content) {
    case Content::undefined: return "undefined";
    case Content::defined: return "";
    case Content::in_flight: return "in_flight";
    case Content::mbarrier: return "mbarrier";
  }
  return "";
}

void CopyGroups::add(const Copy& copy) {
  copies_.push_back(copy);
  issued_ = copy.number;
}

void CopyGroups::commit() { group_ends_.push_back(static_cast<unsigned>(copies_.size())); }

std::vector<Copy> CopyGroups::take() {
  group_ends_.clear();
  return std::exchange(copies_, {});
}

void land(SharedMemory& shared, const Copy& copy) {
  if (!copy.landed) std::memcpy(shared.data + copy.offset, copy.source, copy.bytes);
  shared.set(copy.offset, copy.bytes, Content::defined);
}

std::uint32_t CopyGroups::wait(SharedMemory& shared, unsigned pending) {
  if (group_ends_.size() <= pending) return 0;
  const std::size_t groups = group_ends_.size() - pending;
  const unsigned end = group_ends_[groups - 1];
  const std::uint32_t last = end ? copies_[end - 1].number : 0;
  for (unsigned i = 0; i < end; i++) land(shared, copies_[i]);
  copies_.erase(copies_.begin(), copies_.begin() + end);
  group_ends_.erase(group_ends_.begin(), group_ends_.begin() + static_cast<long>(groups));
  for (unsigned& later : group_ends_) later -= end;
  return last;
}

const Copy* CopyGroups::find(unsigned offset) const {
  for (const Copy& copy : copies_) {
    if (offset >= copy.offset && offset < copy.offset + copy.bytes) return &copy;
  }
  return nullptr;
}

unsigned check_shared(unsigned address, unsigned bytes, unsigned alignment, int line,
                      const char* verb) {
  const SharedMemory& shared = current->block->shared;
  const unsigned offset = address - EMU_SHARED_BASE;
  if (offset % alignment) {
    fail_here("alignment", line,
              text("%s %u bytes at byte %u of shared memory: not a multiple of %u", verb, bytes,
                   offset, alignment));
  }
  if (address < EMU_SHARED_BASE || offset + bytes > shared.bytes) {
    fail_here("bounds", line,
              text("%s %u bytes at byte %lld of shared memory, which has %u bytes", verb, bytes,
                   static_cast<long long>(address) - EMU_SHARED_BASE, shared.bytes));
  }
  return offset;
}

// The copy of any thread of the block that is under way to `offset`.
static std::vector<Note> who_copies(const Block& block, unsigned offset) {
  for (const Thread& thread : block.threads) {
    if (const Copy* copy = thread.copies.find(offset)) {
      return {{copy->line, text("the copy of %s is still under way to it%s",
                                describe(thread).c_str(),
                                &thread == current ? "" : " (or nobody waited for it)")}};
    }
  }
  if (const Operation* operation = find_operation(block, offset)) {
    return {{operation->line, "the bulk copy issued here is under way to it"}};
  }
  return {};
}

static void expect_content(const Block& block, unsigned offset, unsigned bytes, bool reading,
                           int line) {
  const SharedMemory& shared = block.shared;
  const unsigned first = offset / granule_bytes;
  const unsigned last = (offset + bytes - 1) / granule_bytes;
  for (unsigned i = first; i <= last; i++) {
    const Content content = shared.contents[i];
    if (content == Content::defined || (content == Content::undefined && !reading)) continue;
    fail_here(kind_of(content), line,
              text("%s byte %u of shared memory, %s", reading ? "reads" : "writes",
                   i * granule_bytes, obstacle(content)),
              who_copies(block, i * granule_bytes));
  }
}

void expect_idle(const Block& block, unsigned offset, unsigned bytes, int line) {
  expect_content(block, offset, bytes, false, line);
}

static unsigned alignment_of(unsigned bytes) { return bytes < 16 ? bytes : 16; }

void read_shared(Block& block, unsigned address, void* to, unsigned bytes, int line) {
  const unsigned offset = check_shared(address, bytes, alignment_of(bytes), line, "reads");
  expect_content(block, offset, bytes, true, line);
  check_race(block, offset, bytes, Access::read, line);
  std::memcpy(to, block.shared.data + offset, bytes);
}

void write_shared(Block& block, unsigned address, const void* from, unsigned bytes, int line) {
  const unsigned offset = check_shared(address, bytes, alignment_of(bytes), line, "writes");
  expect_content(block, offset, bytes, false, line);
  check_race(block, offset, bytes, Access::write, line);
  std::memcpy(block.shared.data + offset, from, bytes);
  block.shared.set(offset, bytes, Content::defined);
}

void read_shared(unsigned address, void* to, unsigned bytes, int line) {
  read_shared(*current->block, address, to, bytes, line);
}

void write_shared(unsigned address, const void* from, unsigned bytes, int line) {
  write_shared(*current->block, address, from, bytes, line);
}

}  // namespace emu

using namespace emu;

extern "C" {

unsigned emu_shared_size() { return current->block->shared.bytes; }

void emu_shared_read(unsigned address, void* to, unsigned bytes, int line) {
  read_shared(address, to, bytes, line);
}

void emu_shared_write(unsigned address, const void* from, unsigned bytes, int line) {
  write_shared(address, from, bytes, line);
}

void emu_copy_async(unsigned to, const void* from, unsigned bytes, unsigned source_bytes,
                    int line) {
  if ((bytes != 4 && bytes != 8 && bytes != 16) || source_bytes > bytes) {
    fail_here("operands", line, text("cp.async of %u of %u bytes", source_bytes, bytes));
  }
  const unsigned offset = check_shared(to, bytes, bytes, line, "copies");
  Copy copy{current->copies.next_number(), offset, bytes, {}, arrives_at_once(), line};
  if (source_bytes) {
    // The instruction asks for an aligned address even where it reads less.
    if (reinterpret_cast<std::uintptr_t>(from) % bytes) {
      fail_here("alignment", line, text("cp.async of %u bytes from a misaligned address", bytes));
    }
    emu_global_read(from, copy.source, source_bytes, line);
  }
  expect_content(*current->block, offset, bytes, false, line);
  check_copy_race(*current->block, offset, bytes, copy.number, line);
  SharedMemory& shared = current->block->shared;
  shared.poison(offset, bytes);
  if (copy.landed) std::memcpy(shared.data + offset, copy.source, bytes);
  shared.set(offset, bytes, Content::in_flight);
  current->copies.add(copy);
}

void emu_copy_commit(int) { current->copies.commit(); }

void emu_copy_wait(unsigned pending_groups, int) {
  const std::uint32_t landed = current->copies.wait(current->block->shared, pending_groups);
  know(*current, copy_agent(*current), landed);
}
}
