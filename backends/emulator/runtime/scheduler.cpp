#include "scheduler.h"

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <map>
#include <tuple>

#include "report.h"

EmuThread* emu_self = nullptr;

namespace emu {

Policy policy;
Thread* current = nullptr;
Statistics statistics;

static Context main_context;
Launch launch;
static std::deque<Thread*> ready;
static std::vector<std::unique_ptr<Block>> blocks;
static std::uint64_t random_state;

std::vector<std::unique_ptr<Block>>& resident_blocks() { return blocks; }

unsigned random_below(unsigned bound) {
  // splitmix64 (Steele, Lea, Flood 2014)
  std::uint64_t z = random_state += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return static_cast<unsigned>((z ^ (z >> 31)) % bound);
}

bool arrives_at_once() {
  switch (policy.arrival) {
    case Arrival::earliest: return true;
    case Arrival::latest: return false;
    case Arrival::random: return random_below(4) == 0;
  }
  return false;
}

std::string role_of(const Thread& thread) {
  return thread.role_number < 0 ? thread.role : text("%s %d", thread.role, thread.role_number);
}

std::string describe(const Thread& thread) {
  const std::string role = role_of(thread);
  return (role.empty() ? role : role + ", ") +
         text("thread %u of block %u (warp %u, lane %u)", thread.index, thread.block->index,
              thread.index / warp_size, thread.index % warp_size);
}

static Thread* take_ready() {
  if (ready.empty()) return nullptr;
  Thread* thread;
  switch (policy.order) {
    case Order::fifo:
      thread = ready.front();
      ready.pop_front();
      return thread;
    case Order::lifo:
      thread = ready.back();
      ready.pop_back();
      return thread;
    case Order::random: {
      // Swapping with the end keeps the removal cheap; the order is random anyway.
      unsigned at = random_below(static_cast<unsigned>(ready.size()));
      std::swap(ready[at], ready.back());
      thread = ready.back();
      ready.pop_back();
      return thread;
    }
  }
  return nullptr;
}

static void resume(Context& from, Thread* thread) {
  statistics.switches++;
  current = thread;
  emu_self = thread ? &thread->view : nullptr;
  switch_context(from, thread ? thread->context : main_context);
}

// Leaves the current thread for the next one, or for the main loop if there is none.
static void leave(Thread& self) {
  Thread* next = take_ready();
  if (next != &self) resume(self.context, next);
}

void make_ready(Thread& thread) {
  thread.state = State::ready;
  ready.push_back(&thread);
}

void suspend(const Waiting& waiting) {
  Thread& self = *current;
  self.state = State::waiting;
  self.waiting = waiting;
  leave(self);
}

void maybe_yield() {
  if (policy.order != Order::random || random_below(8) != 0) return;
  Thread& self = *current;
  make_ready(self);
  leave(self);
}

static void retire(Thread& self) {
  const Gathering& gathering = self.block->warps[self.index / warp_size].gathering;
  if (gathering.arrived && gathering.mask >> self.index % warp_size & 1) {
    fail_here("divergence", gathering.line,
              text("a lane ends while others wait for it in %s", gathering.what), places());
  }
  if (self.copies.open()) {
    fail_here("unfinished", self.copies.last_line(),
              "a thread ends before it has waited for its asynchronous copies");
  }
  if (self.bulk.unfinished()) {
    fail_here("unfinished", self.bulk.line,
              "a thread ends before it has waited for its bulk stores");
  }
  if (!self.wgmma.accumulators.empty()) {
    fail_here("unfinished", self.wgmma.accumulators.front().line,
              "a thread ends before it has waited for its wgmma operations");
  }
  self.state = State::done;
  Block& block = *self.block;
  block.warps[self.index / warp_size].exited |= 1u << self.index % warp_size;
  // The stack of the running thread cannot be recycled from itself: the main loop does it.
  Thread* next = --block.live ? take_ready() : nullptr;
  resume(self.context, next);
}

static void start_thread() {
  launch.entry(launch.arguments);
  retire(*current);
}

// What each of the threads on an SM may have.
static unsigned registers_at_launch(unsigned threads) {
  constexpr unsigned all = 65536, most = 248, unit = 8;
  return std::min(most, all / threads / unit * unit);
}

static void start_block(unsigned index, const std::shared_ptr<Cluster>& cluster) {
  auto block = std::make_unique<Block>();
  block->index = index;
  block->rank = static_cast<unsigned>(cluster->blocks.size());
  block->cluster = cluster;
  cluster->blocks.push_back(block.get());
  cluster->threads += launch.threads;
  block->warpgroups.resize((launch.threads + warpgroup_size - 1) / warpgroup_size);
  block->live = launch.threads;
  block->threads.resize(launch.threads);
  block->warps.resize((launch.threads + warp_size - 1) / warp_size);
  block->shared.resize(launch.shared_bytes);
  for (unsigned i = 0; i < launch.threads; i++) {
    Thread& thread = block->threads[i];
    thread.view = {{i, 0, 0}, {index, 0, 0}, {launch.threads, 1, 1}, {launch.blocks, 1, 1},
                   launch.shared_bytes};
    thread.block = block.get();
    thread.index = i;
    thread.registers = registers_at_launch(launch.threads * launch.sharing);
    start_time(thread);
    thread.stack = take_stack();
    prepare(thread.context, thread.stack, stack_bytes, start_thread);
    make_ready(thread);
  }
  blocks.push_back(std::move(block));
}

static void start_cluster(unsigned first) {
  auto cluster = std::make_shared<Cluster>();
  for (unsigned i = 0; i < launch.cluster; i++) start_block(first + i, cluster);
}

static void drop_finished_blocks() {
  for (std::size_t i = 0; i < blocks.size();) {
    if (blocks[i]->live) {
      i++;
      continue;
    }
    expect_landed(*blocks[i]);
    statistics.results++;
    blocks[i]->cluster->blocks[blocks[i]->rank] = nullptr;
    for (Thread& thread : blocks[i]->threads) return_stack(thread.stack);
    blocks.erase(blocks.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

static const Thread& thread_of(unsigned block, unsigned thread) {
  for (const auto& candidate : blocks) {
    if (candidate->index == block) return candidate->threads[thread];
  }
  abort();
}

std::vector<Note> places() {
  using Place = std::tuple<unsigned, int, const char*, unsigned, std::string>;
  std::map<Place, std::vector<unsigned>> groups;
  std::vector<Note> notes;
  for (const auto& block : blocks) {
    unsigned done = 0;
    for (const Thread& thread : block->threads) {
      if (thread.state == State::waiting) {
        const Waiting& waiting = thread.waiting;
        groups[{block->index, waiting.line, waiting.what, waiting.id, role_of(thread)}].push_back(
            thread.index);
      }
      done += thread.state == State::done;
    }
    if (done) notes.push_back({0, text("%u threads of block %u have ended", done, block->index)});
  }
  for (const auto& block : blocks) {
    for (const auto& [offset, barrier] : block->mbarriers) {
      if (barrier.waiting.empty()) continue;
      notes.push_back({barrier.line,
                       text("phase %u of the mbarrier at byte %u of block %u lacks %u of %u "
                            "arrivals and %lld bytes",
                            barrier.phase, offset, block->index, barrier.pending, barrier.count,
                            barrier.bytes)});
    }
  }
  for (const auto& [place, threads] : groups) {
    const auto& [block, line, what, id, role] = place;
    const std::string who = role.empty() ? role : role + "; ";
    notes.push_back({line, text("%zu threads of block %u (%sthe first is %u) wait in %s %u",
                                threads.size(), block, who.c_str(), threads.front(), what, id),
                     waiting_stack(thread_of(block, threads.front()))});
  }
  return notes;
}

void run(const Launch& request) {
  launch = request;
  random_state = policy.seed;
  unsigned started = 0;
  for (;;) {
    drop_finished_blocks();
    while (started < launch.blocks && (blocks.empty() || blocks.size() < launch.resident)) {
      start_cluster(started);
      started += launch.cluster;
    }
    if (blocks.empty()) return;
    if (policy.order == Order::random && random_below(4) == 0) land_one();
    Thread* next = take_ready();
    if (!next && land_one()) continue;
    if (!next) {
      const auto notes = places();
      fail("deadlock", notes.back().line, "no thread can go on", notes);
    }
    resume(main_context, next);
  }
}

}  // namespace emu

extern "C" void emu_launch_wait() { emu::current->alone = true; }

extern "C" void emu_role(const char* name, int number) {
  emu::current->role = name;
  emu::current->role_number = number;
}
