#include "wgmma.h"

#include <cstring>
#include <limits>

#include "async.h"
#include "numbers.h"
#include "race.h"
#include "report.h"
#include "scheduler.h"
#include "tensor_core.h"

namespace emu {

constexpr unsigned product_rows = 64, depth_bytes = 32;

// Shared memory descriptors and canonical layouts: PTX ISA, "Asynchronous warpgroup level matrix
// instructions". Addresses and offsets are in units of 16 bytes.
unsigned wgmma_address(unsigned long long descriptor, bool transposed, unsigned element_bytes,
                       unsigned mn, unsigned k) {
  const auto field = [&](int bit) { return static_cast<unsigned>(descriptor >> bit & 0x3fff) << 4; };
  const unsigned start = field(0), leading = field(16), stride = field(32);
  constexpr unsigned spans[4] = {0, 128, 64, 32};
  const unsigned span = spans[descriptor >> 62];
  const unsigned width = span ? span : 16;
  // The contiguous direction in bytes, and the lines of it, eight to an atom.
  const unsigned inner = (transposed ? mn : k) * element_bytes, line = transposed ? k : mn;
  unsigned across = inner / width, down = line / 8;
  // Which of the two offsets leads across atoms depends on the layout; a K-major operand with a
  // swizzle never leaves its atom: k16 slices move its start.
  unsigned address = start + line % 8 * width + inner % width;
  if (!transposed) {
    address += down * stride + (span ? across * width : across * leading);
  } else {
    address += span ? across * leading + down * stride : across * stride + down * leading;
  }
  return swizzled(address, span);
}

static Warpgroup& own_warpgroup() {
  return current->block->warpgroups[current->index / warpgroup_size];
}

static void expect_uniform(const WgmmaOperation& operation, const EmuWgmma& mine,
                           std::uint32_t group, int line) {
  const EmuWgmma& first = operation.what;
  const bool same = first.kind == mine.kind && first.n == mine.n && first.a == mine.a &&
                    first.b == mine.b && first.accumulate == mine.accumulate &&
                    first.a_transposed == mine.a_transposed &&
                    first.b_transposed == mine.b_transposed &&
                    !first.a_registers == !mine.a_registers && operation.group == group;
  if (!same || operation.line != line) {
    fail_here("divergence", line, "the threads of a warpgroup issue different wgmma operations",
              {{operation.line, "others are here"}});
  }
}

static void check_operation(const EmuWgmma& operation, int line) {
  if (operation.n % 8 || operation.n < 8 || operation.n > 256) {
    fail_here("operands", line, text("there is no wgmma with n = %u", operation.n));
  }
  const bool tf32 = operation.kind == EMU_MMA_TF32;
  if (tf32 && (operation.a_transposed || operation.b_transposed)) {
    fail_here("operands", line, "tf32 operands of wgmma are K-major only");
  }
  for (const auto descriptor : {operation.a, operation.b}) {
    if (descriptor >> 49 & 7) {
      fail_here("operands", line, "a wgmma descriptor has a base offset, which is not modelled");
    }
  }
}

// Hides the registers' values until the operation is waited for.
static void open_accumulator(Thread& thread, float* home, unsigned count, bool adds, int line) {
  auto& position = thread.wgmma;
  for (Accumulator& open : position.accumulators) {
    if (open.home == home) {
      open.group = position.group;
      return;
    }
  }
  if (!position.fenced) {
    fail_here("wgmma", line, "the accumulators' registers were used and no wgmma.fence since");
  }
  if (adds) expect_set(home, count, line);
  position.accumulators.push_back({home, {home, home + count}, position.group, line});
  for (unsigned i = 0; i < count; i++) home[i] = std::numeric_limits<float>::quiet_NaN();
}

static LeftWords* find_left(Thread& thread, const unsigned* home) {
  for (LeftWords& left : thread.wgmma.lefts) {
    if (left.home == home) return &left;
  }
  return nullptr;
}

static bool changed(const LeftWords& left) {
  return std::memcmp(left.home, left.held, sizeof left.held) != 0;
}

// The current thread comes to `line`: what an operation reads must be as it was.
static void expect_left_unchanged(const LeftWords& left, int line) {
  if (left.group && changed(left)) {
    fail_here("wgmma", line, "registers of a were written while an operation reads them",
              {{left.line, "the operation issued here, for which nobody has waited"}});
  }
}

// The registers of a have been settled, and fenced since.
static void open_left(Thread& thread, const unsigned* home, int line) {
  LeftWords* const left = find_left(thread, home);
  if (!left) fail_here("wgmma", line, "nothing says keep_left of the registers of a");
  if (changed(*left) || left->fences == thread.wgmma.fences) {
    fail_here("wgmma", line, "the registers of a were written and no wgmma.fence since");
  }
  left->group = thread.wgmma.group;
  left->line = line;
}

// Rows or columns `first` to `end` of an operand.
struct Operand {
  unsigned long long descriptor;
  bool transposed;
  unsigned element_bytes, first, end;
};

// Calls `visit` with the offset of every 16 bytes of an operand, the first element in them, and
// whether that run goes along k.
template <class Visit>
static void for_chunks(const Operand& operand, Visit visit) {
  const unsigned per_chunk = 16 / operand.element_bytes;
  const unsigned depth = depth_bytes / operand.element_bytes;
  const unsigned mn_step = operand.transposed ? per_chunk : 1;
  const unsigned k_step = operand.transposed ? 1 : per_chunk;
  for (unsigned mn = operand.first; mn < operand.end; mn += mn_step) {
    for (unsigned k = 0; k < depth; k += k_step) {
      visit(wgmma_address(operand.descriptor, operand.transposed, operand.element_bytes, mn, k), mn,
            k);
    }
  }
}

static void check_operand(const Operand& operand, const Event& event, int line) {
  Block& block = *current->block;
  for_chunks(operand, [&](unsigned address, unsigned, unsigned) {
    const unsigned offset = check_shared(address, 16, 16, line, "multiplies");
    for (unsigned i = 0; i < 16; i += granule_bytes) {
      const Content content = block.shared.contents[(offset + i) / granule_bytes];
      if (content == Content::defined) continue;
      fail_here(kind_of(content), line,
                text("multiplies byte %u of shared memory, %s", offset + i, obstacle(content)));
    }
    check_async_race(block, offset, 16, event, Access::read, line);
  });
}

static std::vector<float> load_operand(const Block& block, const EmuWgmma& what,
                                       const Operand& operand) {
  const unsigned depth = depth_bytes / operand.element_bytes;
  std::vector<float> values(std::size_t{operand.end} * depth);
  for_chunks(operand, [&](unsigned address, unsigned mn, unsigned k) {
    const unsigned char* from = block.shared.data + (address - EMU_SHARED_BASE);
    for (unsigned i = 0; i < 16 / operand.element_bytes; i++) {
      unsigned bits = 0;
      std::memcpy(&bits, from + i * operand.element_bytes, operand.element_bytes);
      const unsigned row = mn + (operand.transposed ? i : 0), step = k + (operand.transposed ? 0 : i);
      values[row * depth + step] = widen(what.kind, bits, 0);
    }
  });
  return values;
}

// Registers of a: each warp's 16 rows as in mma.sync.
static std::vector<float> register_operand(const WgmmaOperation& operation, unsigned depth) {
  std::vector<float> values(std::size_t{product_rows} * depth);
  const unsigned packed = depth / 8, half = depth / 2;
  for (unsigned thread = 0; thread < warpgroup_size; thread++) {
    const unsigned lane = thread % warp_size, first_row = thread / warp_size * 16 + lane / 4;
    for (unsigned part = 0; part < 4; part++) {
      for (unsigned i = 0; i < packed; i++) {
        const unsigned k = packed * (lane % 4) + i + half * (part / 2);
        values[(first_row + 8 * (part % 2)) * depth + k] =
            widen(operation.what.kind, operation.lanes[thread].a[part], i);
      }
    }
  }
  return values;
}

static float& sum_of(WgmmaOperation::Lane& lane, unsigned index) {
  for (Accumulator& open : lane.thread->wgmma.accumulators) {
    if (open.home == lane.home) return open.sums[index];
  }
  return lane.home[index];
}

static Operand operand_a(const EmuWgmma& what, unsigned first = 0, unsigned end = product_rows) {
  return {what.a, what.a_transposed != 0, element_bytes(what.kind), first, end};
}
static Operand operand_b(const EmuWgmma& what) {
  return {what.b, what.b_transposed != 0, element_bytes(what.kind), 0, what.n};
}

// What the current thread's warp reads: its own rows of a, all of b.
static void check_operands(const EmuWgmma& what, unsigned agent, std::uint32_t group, int line) {
  constexpr unsigned warp_rows = 16;
  const unsigned first = current->index % warpgroup_size / warp_size * warp_rows;
  const Event event{current->block->index, agent, group};
  if (!what.a_registers) check_operand(operand_a(what, first, first + warp_rows), event, line);
  check_operand(operand_b(what), event, line);
}

static void execute(const Block& block, WgmmaOperation& operation) {
  if (operation.done) return;
  operation.done = true;
  const EmuWgmma& what = operation.what;
  const unsigned depth = depth_bytes / element_bytes(what.kind), n = what.n;
  const std::vector<float> a = what.a_registers ? register_operand(operation, depth)
                                                : load_operand(block, what, operand_a(what));
  const std::vector<float> b = load_operand(block, what, operand_b(what));
  std::vector<float> d(std::size_t{product_rows} * n);
  const auto for_sums = [&](auto move) {
    for (unsigned thread = 0; thread < warpgroup_size; thread++) {
      float* sums = &sum_of(operation.lanes[thread], 0);
      const unsigned row = thread / warp_size * 16 + thread % warp_size / 4;
      for (unsigned i = 0; i < n / 2; i++) {
        const unsigned column = i / 4 * 8 + thread % 4 * 2 + i % 2;
        move(sums[i], d[(row + i / 2 % 2 * 8) * n + column]);
      }
    }
  };
  if (what.accumulate) for_sums([](float own, float& sum) { sum = own; });
  tensor_core_multiply(what.kind, product_rows, n, depth, a.data(), b.data(), d.data());
  for_sums([](float& own, float sum) { own = sum; });
}

// Runs everything up to group `last`; false if some threads have not issued all of it yet.
static bool execute_through(const Block& block, Warpgroup& group, std::uint32_t last) {
  for (WgmmaOperation& operation : group.operations) {
    if (operation.group > last) break;
    if (operation.arrived < warpgroup_size) return false;
    execute(block, operation);
  }
  return true;
}

static void forget_done(Warpgroup& group) {
  while (!group.operations.empty() && group.operations.front().done) {
    group.operations.pop_front();
    group.first++;
  }
}

}  // namespace emu

using namespace emu;

extern "C" {

void emu_wgmma(const EmuWgmma* what, float* d, int line) {
  Thread& thread = *current;
  Block& block = *thread.block;
  Warpgroup& group = own_warpgroup();
  check_operation(*what, line);
  unsigned& agent = group.agents[thread.index % warpgroup_size / warp_size];
  if (!agent) {
    const std::string role = role_of(thread);
    agent = new_agent(block, text("wgmma of %s%swarp %u", role.c_str(), role.empty() ? "" : ", ",
                                  thread.index / warp_size));
  }
  const std::uint64_t at = thread.wgmma.issued++ - group.first;
  if (at == group.operations.size()) {
    group.operations.push_back({*what, line, thread.wgmma.group, 0, false, {}});
    group.operations.back().lanes.resize(warpgroup_size);
  }
  WgmmaOperation& operation = group.operations[at];
  expect_uniform(operation, *what, thread.wgmma.group, line);
  open_accumulator(thread, d, what->n / 2, what->accumulate != 0, line);
  WgmmaOperation::Lane& lane = operation.lanes[thread.index % warpgroup_size];
  lane.thread = &thread;
  lane.home = d;
  if (what->a_registers) {
    open_left(thread, what->a_registers, line);
    std::memcpy(lane.a, what->a_registers, sizeof lane.a);
  }
  // Each warp's first lane vouches for its warp: any of them may lack a wait the others have done.
  if (thread.index % warp_size == 0) check_operands(*what, agent, operation.group, line);
  if (++operation.arrived < warpgroup_size) return;
  for (Thread* waiter : group.waiting) make_ready(*waiter);
  group.waiting.clear();
  if (arrives_at_once()) execute_through(block, group, operation.group);
}

void emu_wgmma_keep_left(const unsigned* left, int line) {
  Thread& thread = *current;
  LeftWords* own = find_left(thread, left);
  if (own) expect_left_unchanged(*own, line);
  else own = &thread.wgmma.lefts.emplace_back();
  *own = {left, {}, thread.wgmma.fences, 0, line};
  std::memcpy(own->held, left, sizeof own->held);
}

void emu_wgmma_fence(int) {
  current->wgmma.fenced = true;
  current->wgmma.fences++;
}

void emu_wgmma_commit(int) {
  current->wgmma.group++;
  tick(*current);
}

void emu_wgmma_wait(unsigned pending, int line) {
  Thread& thread = *current;
  Warpgroup& group = own_warpgroup();
  const std::uint32_t open = thread.wgmma.group;
  const std::uint32_t last = open > pending + 1 ? open - pending - 1 : 0;
  while (!execute_through(*thread.block, group, last)) {
    group.waiting.push_back(&thread);
    suspend({"a wait for wgmma group", line, last});
  }
  auto& accumulators = thread.wgmma.accumulators;
  for (std::size_t i = 0; i < accumulators.size();) {
    Accumulator& done = accumulators[i];
    if (done.group > last) {
      i++;
      continue;
    }
    std::memcpy(done.home, done.sums.data(), done.sums.size() * sizeof(float));
    accumulators.erase(accumulators.begin() + static_cast<std::ptrdiff_t>(i));
    thread.wgmma.fenced = false;
  }
  for (LeftWords& left : thread.wgmma.lefts) {
    if (left.group > last) continue;
    expect_left_unchanged(left, line);
    left.group = 0;
  }
  const unsigned agent = group.agents[thread.index % warpgroup_size / warp_size];
  if (last && agent) know(thread, agent, last);
  forget_done(group);
  maybe_yield();
}
}
