#include "order.h"

#include <algorithm>
#include <unordered_map>

#include "scheduler.h"

namespace emu {

bool races_on = false;

static std::unordered_map<const void*, Knowledge> released;

static void join_clocks(Clocks& clocks, const Clocks& more) {
  if (clocks.size() < more.size()) clocks.resize(more.size());
  for (std::size_t i = 0; i < more.size(); i++) clocks[i] = std::max(clocks[i], more[i]);
}

static std::shared_ptr<const Others> joined(const std::shared_ptr<const Others>& some,
                                            const std::shared_ptr<const Others>& more) {
  if (some == more || !more) return some;
  if (!some) return more;
  auto result = std::make_shared<Others>(*some);
  for (const auto& [block, clocks] : *more) {
    auto& mine = (*result)[block];
    if (mine == clocks) continue;
    if (!mine) {
      mine = clocks;
    } else {
      Clocks both = *mine;
      join_clocks(both, *clocks);
      mine = std::make_shared<const Clocks>(std::move(both));
    }
  }
  return result;
}

void Knowledge::join(const Knowledge& more) {
  join_clocks(own, more.own);
  others = joined(others, more.others);
}

bool Knowledge::includes_of_others(const Event& event) const {
  if (!others) return false;
  const auto found = others->find(event.block);
  if (found == others->end()) return false;
  const Clocks& clocks = *found->second;
  return event.agent < clocks.size() && event.clock <= clocks[event.agent];
}

unsigned copy_agent(const Thread& thread) {
  return static_cast<unsigned>(thread.block->threads.size()) + thread.index;
}

unsigned new_agent(Block& block, const std::string& name) {
  block.agents.push_back(name);
  return static_cast<unsigned>(2 * block.threads.size() + block.agents.size()) - 1;
}

void start_time(Thread& thread) {
  if (!races_on) return;
  thread.time = std::make_unique<ThreadTime>();
  thread.time->known.own.resize(2 * thread.block->threads.size());
  tick(thread);
}

void tick(Thread& thread) {
  if (races_on) thread.time->known.own[thread.index]++;
}

Event now(const Thread& thread) {
  return {thread.block->index, thread.index, thread.time->known.own[thread.index]};
}

static void join(Time& time, const Time& more) {
  time.known.join(more.known);
  time.proxied.join(more.proxied);
}

void join(Time& meeting, const Thread& thread) {
  if (races_on) join(meeting, *thread.time);
}

void leave_with(const Time& meeting, Thread& thread) {
  if (!races_on) return;
  const std::uint32_t clock = thread.time->known.own[thread.index];
  static_cast<Time&>(*thread.time) = meeting;
  thread.time->known.own[thread.index] = clock;
  tick(thread);
}

void know(Knowledge& knowledge, unsigned agent, std::uint32_t clock) {
  if (!races_on) return;
  Clocks& clocks = knowledge.own;
  if (clocks.size() <= agent) clocks.resize(agent + 1);
  clocks[agent] = std::max(clocks[agent], clock);
}

void know(Thread& thread, unsigned agent, std::uint32_t clock) {
  if (races_on) know(thread.time->known, agent, clock);
}

void learn(Thread& thread, const Time& brought) {
  if (races_on) join(*thread.time, brought);
}

void order_proxy_fence(Thread& thread) {
  if (!races_on) return;
  thread.time->proxied.join(thread.time->known);
  tick(thread);
}

void order_fence(Thread& thread) {
  if (!races_on) return;
  ThreadTime& time = *thread.time;
  time.known.join(time.observed);
  time.fenced.join(time.known);
  tick(thread);
}

// `knowledge` as another block sees it: this block's clocks become one of the snapshots.
static Knowledge from_outside(const Knowledge& knowledge, std::uint32_t block) {
  auto others = knowledge.others ? std::make_shared<Others>(*knowledge.others)
                                 : std::make_shared<Others>();
  (*others)[block] = std::make_shared<const Clocks>(knowledge.own);
  return {{}, std::move(others)};
}

// The reverse, for a thread of `block`.
static Knowledge from_inside(const Knowledge& knowledge, std::uint32_t block) {
  if (!knowledge.others) return {};
  const auto own = knowledge.others->find(block);
  if (own == knowledge.others->end()) return knowledge;
  auto others = std::make_shared<Others>(*knowledge.others);
  others->erase(block);
  return {*own->second, std::move(others)};
}

void join_from(Time& meeting, const Thread& thread, const Block& block) {
  if (!races_on) return;
  if (&block == thread.block) return join(meeting, thread);
  const auto seen = [&](const Knowledge& knowledge) {
    return from_inside(from_outside(knowledge, thread.block->index), block.index);
  };
  const Time& time = *thread.time;
  join(meeting, Time{seen(time.known), seen(time.proxied)});
}

void order_flag_load(Thread& thread, const void* flag, bool acquire) {
  if (!races_on) return;
  ThreadTime& time = *thread.time;
  (acquire ? time.known : time.observed).join(from_inside(released[flag], thread.block->index));
}

void order_flag_store(Thread& thread, const void* flag, bool release) {
  if (!races_on) return;
  const ThreadTime& time = *thread.time;
  released[flag] = from_outside(release ? time.known : time.fenced, thread.block->index);
  tick(thread);
}

void order_atomic(Thread& thread, const void* flag, bool acquire, bool release) {
  if (!races_on) return;
  const ThreadTime& time = *thread.time;
  order_flag_load(thread, flag, acquire);
  released[flag].join(from_outside(release ? time.known : time.fenced, thread.block->index));
  tick(thread);
}

}  // namespace emu
