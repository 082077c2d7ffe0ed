// mbarriers and the fences that go with them.

#include <algorithm>

#include "abi.h"
#include "async.h"
#include "race.h"
#include "report.h"
#include "scheduler.h"

namespace emu {

constexpr unsigned mbarrier_bytes = 8, most_count = (1u << 20) - 1;

MBarrier& find_mbarrier(Block& block, unsigned address, int line, bool by_async_proxy) {
  const auto found = block.mbarriers.find(address - EMU_SHARED_BASE);
  if (found == block.mbarriers.end()) {
    fail_here("mbarrier", line,
              text("there is no mbarrier at byte %lld of shared memory",
                   static_cast<long long>(address) - EMU_SHARED_BASE));
  }
  MBarrier& barrier = found->second;
  if (races_on) {
    const Time& time = *current->time;
    const Knowledge& known = by_async_proxy ? time.proxied : time.known;
    if (!known.includes(barrier.initialised, current->block->index)) {
      fail_here("race", line,
                by_async_proxy ? "uses an mbarrier whose initialisation no fence has shown to the "
                                 "async proxy"
                               : "uses an mbarrier while nothing orders that behind its "
                                 "initialisation",
                {{barrier.line, "initialised here"}});
    }
  }
  return barrier;
}

static void finish_phase(MBarrier& barrier) {
  if (barrier.pending || barrier.bytes) return;
  barrier.phase++;
  barrier.pending = barrier.count;
  barrier.completed = barrier.gathering;
  know(barrier.completed.known, barrier.agent, barrier.phase);
  barrier.gathering = {};
  for (Thread* thread : barrier.waiting) make_ready(*thread);
  barrier.waiting.clear();
}

void complete_bytes(MBarrier& barrier, unsigned bytes) {
  barrier.bytes -= bytes;
  finish_phase(barrier);
}

static void expect_bytes(MBarrier& barrier, unsigned bytes, int line) {
  barrier.bytes += bytes;
  if (barrier.bytes > most_count) {
    fail_here("mbarrier", line, text("an mbarrier cannot expect %lld bytes", barrier.bytes));
  }
}

}  // namespace emu

using namespace emu;

extern "C" {

void emu_mbarrier_init(unsigned address, unsigned count, int line) {
  Block& block = *current->block;
  const unsigned offset = check_shared(address, mbarrier_bytes, mbarrier_bytes, line, "initialises");
  if (count == 0 || count > most_count) {
    fail_here("mbarrier", line, text("an mbarrier cannot count %u arrivals", count));
  }
  const auto [entry, fresh] = block.mbarriers.try_emplace(offset);
  if (!fresh) {
    fail_here("mbarrier", line, "initialises an mbarrier a second time",
              {{entry->second.line, "the first time"}});
  }
  const unsigned long long opaque = 0;
  write_shared(address, &opaque, sizeof opaque, line);
  block.shared.set(offset, mbarrier_bytes, Content::mbarrier);
  MBarrier& barrier = entry->second;
  barrier.count = barrier.pending = count;
  barrier.offset = offset;
  barrier.line = line;
  barrier.agent = new_agent(block, text("a bulk copy counted by the mbarrier at byte %u", offset));
  if (races_on) barrier.initialised = now(*current);
}

void emu_mbarrier_expect(unsigned address, unsigned bytes, int line) {
  expect_bytes(find_mbarrier(*current->block, address, line, false), bytes, line);
}

void emu_mbarrier_arrive(unsigned address, unsigned cta, int line) {
  Block& block = cluster_block(cta, line);
  MBarrier& barrier = find_mbarrier(block, address, line, false);
  if (barrier.pending == 0) {
    fail_here("mbarrier", line,
              text("arrives at the mbarrier at byte %u, where all %u of this phase have arrived",
                   barrier.offset, barrier.count));
  }
  join_from(barrier.gathering, *current, block);
  tick(*current);
  barrier.pending--;
  finish_phase(barrier);
  maybe_yield();
}

void emu_copy_arrive(unsigned address, int line) {
  Block& block = *current->block;
  MBarrier& barrier = find_mbarrier(block, address, line, false);
  const unsigned agent = copy_agent(*current);
  issue({[&block, &barrier, agent, line, copies = current->copies.take()] {
           for (const Copy& copy : copies) land(block.shared, copy);
           if (barrier.pending == 0) {
             fail("mbarrier", line,
                  text("copies arrive at the mbarrier at byte %u, where all %u of this phase have "
                       "arrived",
                       barrier.offset, barrier.count));
           }
           if (!copies.empty()) know(barrier.gathering.known, agent, copies.back().number);
           barrier.pending--;
           finish_phase(barrier);
         },
         &block, 0, 0, line});
}

void emu_mbarrier_wait(unsigned address, unsigned parity, int line) {
  MBarrier& barrier = find_mbarrier(*current->block, address, line, false);
  maybe_yield();
  while ((barrier.phase & 1) == (parity & 1)) {
    barrier.waiting.push_back(current);
    suspend({"a wait for the mbarrier at byte", line, barrier.offset});
  }
  barrier.waited = std::max(barrier.waited, barrier.phase);
  learn(*current, barrier.completed);
}

void emu_fence_mbarrier_init(int) { order_proxy_fence(*current); }
void emu_fence_proxy_async(int) { order_proxy_fence(*current); }
}
