// bar.sync and bar.arrive: barriers of a block, by number.

#include <algorithm>
#include <utility>

#include "abi.h"
#include "report.h"
#include "scheduler.h"
#include "warp.h"

namespace emu {

static Warp& warp_of(const Thread& thread) {
  return thread.block->warps[thread.index / warp_size];
}

static unsigned lane_bit(const Thread& thread) { return 1u << thread.index % warp_size; }

// Whoever cannot know that the last use has ended may be counted as part of it.
static void expect_unused(const Barrier& barrier, unsigned id, int line) {
  for (const Event& arrival : barrier.before) {
    if (current->time->known.includes(arrival, current->block->index)) continue;
    fail_here("race", line,
              text("comes to barrier %u while nothing orders that behind its last use, by %s", id,
                   describe(current->block->threads[arrival.agent]).c_str()));
  }
}

static Barrier& come_to(unsigned id, unsigned threads, int line) {
  Block& block = *current->block;
  const auto all = static_cast<unsigned>(block.threads.size());
  const unsigned expected = threads ? threads : all;
  if (id >= named_barriers) fail_here("barrier", line, text("there is no barrier %u", id));
  if (expected % warp_size || expected > all) {
    fail_here("barrier", line,
              text("barrier %u counts %u threads: no multiple of 32 up to %u", id, expected, all));
  }
  expect_converged("a barrier", line);
  Barrier& barrier = block.barriers[id];
  if (barrier.lanes.empty()) {
    barrier.lanes.resize(block.warps.size());
    barrier.lines.resize(block.warps.size());
  }
  if (barrier.arrived && barrier.expected != expected) {
    fail_here("barrier", line,
              text("counts %u threads at barrier %u, where others count %u", expected, id,
                   barrier.expected));
  }
  const unsigned warp = current->index / warp_size;
  if (barrier.lanes[warp] && barrier.lines[warp] != line) {
    fail_here("divergence", line, text("the lanes of a warp come to barrier %u from two lines", id),
              {{barrier.lines[warp], text("lanes %08x came from here", barrier.lanes[warp])}});
  }
  barrier.expected = expected;
  barrier.arrived++;
  barrier.lanes[warp] |= 1u << current->index % warp_size;
  barrier.lines[warp] = line;
  if (races_on) {
    expect_unused(barrier, id, line);
    if (current->index % warp_size == 0) barrier.arrivals.push_back(now(*current));
  }
  join(barrier.meeting, *current);
  tick(*current);
  return barrier;
}

static void release_if_full(Barrier& barrier, unsigned id) {
  if (barrier.arrived != barrier.expected) return;
  for (std::size_t warp = 0; warp < barrier.lanes.size(); warp++) {
    if (barrier.lanes[warp] != 0 && barrier.lanes[warp] != 0xffffffff) {
      fail_here("divergence", barrier.lines[warp],
                text("barrier %u is complete, but of warp %zu only lanes %08x came", id, warp,
                     barrier.lanes[warp]));
    }
  }
  barrier.arrived = 0;
  barrier.before = std::exchange(barrier.arrivals, {});
  std::fill(barrier.lanes.begin(), barrier.lanes.end(), 0);
  for (Thread* thread : barrier.waiting) {
    leave_with(barrier.meeting, *thread);
    warp_of(*thread).at_barrier &= ~lane_bit(*thread);
    if (thread != current) make_ready(*thread);
  }
  barrier.waiting.clear();
  barrier.meeting = {};
}

struct ArriveFrame {
  unsigned id, threads;
  int line;
};

// The lanes of a warp arrive as one: none of them waits, so that one could run ahead of the others.
static void run_arrive(void* const* frames, unsigned) {
  Thread* const self = current;
  Thread* const lanes = self - self->index % warp_size;
  for (unsigned lane = 0; lane < warp_size; lane++) {
    current = lanes + lane;
    const auto frame = static_cast<const ArriveFrame*>(frames[lane]);
    release_if_full(come_to(frame->id, frame->threads, frame->line), frame->id);
  }
  current = self;
}

}  // namespace emu

using namespace emu;

extern "C" {

void emu_barrier_sync(unsigned id, unsigned threads, int line) {
  Barrier& barrier = come_to(id, threads, line);
  barrier.waiting.push_back(current);
  if (barrier.arrived < barrier.expected) {
    warp_of(*current).at_barrier |= lane_bit(*current);
    suspend({"barrier", line, id});
    return;
  }
  release_if_full(barrier, id);
  maybe_yield();
}

void emu_barrier_arrive(unsigned id, unsigned threads, int line) {
  ArriveFrame frame{id, threads, line};
  collective("bar.arrive", 0xffffffff, &frame, line, run_arrive);
}
}
