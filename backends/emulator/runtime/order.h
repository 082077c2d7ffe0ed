// Happens-before: what a thread knows to have happened, as vector clocks (Lamport 1978; Mattern
// 1989), and how barriers, fences and flags pass that knowledge on.
//
// Agents of a block are its threads and, for each thread, its asynchronous copies. Inside a block
// knowledge is one clock value an agent. Of another block it is a snapshot of that block's clocks,
// taken where one of its threads released a flag.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace emu {

struct Block;
struct Thread;

using Clocks = std::vector<std::uint32_t>;

// An event: the value of an agent's clock when it happened.
struct Event {
  std::uint32_t block = 0, agent = 0, clock = 0;  // clock 0 is no event
};

// Snapshots by block. They are shared by all who know the same and never changed, so that threads
// that have met can tell at a glance that they have nothing to learn from each other.
using Others = std::map<std::uint32_t, std::shared_ptr<const Clocks>>;

// What is known to have happened.
struct Knowledge {
  Clocks own;
  std::shared_ptr<const Others> others;

  void join(const Knowledge& more);
  bool includes(const Event& event, std::uint32_t own_block) const {
    if (event.block != own_block) return includes_of_others(event);
    return event.agent < own.size() && event.clock <= own[event.agent];
  }

 private:
  bool includes_of_others(const Event& event) const;
};

// What threads pass on where they meet; `proxied` is what the async proxy was told by
// fence.proxy.async.
struct Time {
  Knowledge known, proxied;
};

// A thread's position in time. `fenced` is what it knew at its last fence, which is what its relaxed
// operations on flags pass on; `observed` is what they brought, which counts after its next fence.
// Both are the thread's own: in PTX's release and acquire patterns the fence and the operation are
// in program order, and no barrier makes up for that.
struct ThreadTime : Time {
  Knowledge fenced, observed;
};

// Whether accesses are ordered at all, as the request asks.
extern bool races_on;

unsigned copy_agent(const Thread& thread);
// A new agent of the block, for something that acts on its own.
unsigned new_agent(Block& block, const std::string& name);
void start_time(Thread& thread);

// One more event of the thread: what it does from here on is not known to those it has met so far.
void tick(Thread& thread);
Event now(const Thread& thread);

// Threads meet: all of them know what each of them knew. Between `join` and `leave_with` a thread
// only waits.
void join(Time& meeting, const Thread& thread);
// The same where the meeting is one of another block.
void join_from(Time& meeting, const Thread& thread, const Block& block);
void leave_with(const Time& meeting, Thread& thread);

// The thread learns that events of an agent of its block have happened, up to `clock`.
void know(Thread& thread, unsigned agent, std::uint32_t clock);
void know(Knowledge& knowledge, unsigned agent, std::uint32_t clock);
// The thread learns what `brought` holds.
void learn(Thread& thread, const Time& brought);

void order_fence(Thread& thread);
void order_proxy_fence(Thread& thread);
// An atomic operation on, a load and a store of the flag at `flag`. A store ends what earlier
// stores have released, an atomic operation carries it on.
void order_atomic(Thread& thread, const void* flag, bool acquire, bool release);
void order_flag_load(Thread& thread, const void* flag, bool acquire);
void order_flag_store(Thread& thread, const void* flag, bool release);

}  // namespace emu
