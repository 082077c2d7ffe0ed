// Operations that go on by themselves after their issue, and what they complete on.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "order.h"

namespace emu {

struct Block;
struct Thread;

// An operation under way. `to` is where in `block`'s shared memory it writes, if `bytes` are not 0.
struct Operation {
  std::function<void()> land;
  const Block* block = nullptr;
  unsigned to = 0, bytes = 0;
  int line = 0;
};

// Lands at once or later, as the policy says.
void issue(Operation operation);
// Lands one of the operations under way; false if there is none.
bool land_one();
// The operation under way that writes `offset` of the block's shared memory, if any.
const Operation* find_operation(const Block& block, unsigned offset);
// Fails if an operation under way touches a block that has ended, or nobody waited for its loads.
void expect_landed(const Block& block);

// Phases are counted; the parity that threads wait for is that of the count.
struct MBarrier {
  unsigned count = 0, pending = 0, agent = 0, offset = 0;
  long long bytes = 0;  // still expected, negative if they came before they were expected
  std::uint32_t phase = 0;
  std::uint32_t loaded = 0, waited = 0;  // phases of the last load and the last wait, from 1
  Event initialised;
  int line = 0, load_line = 0;
  Time gathering, completed;
  std::vector<Thread*> waiting;
};

// The mbarrier at an address of a block; fails if none was initialised there, or nothing orders its
// initialisation before the current thread's use of it.
MBarrier& find_mbarrier(Block& block, unsigned address, int line, bool by_async_proxy);
// Takes `bytes` off what the current phase expects.
void complete_bytes(MBarrier& barrier, unsigned bytes);

// The bulk stores of a thread in commit order.
struct BulkGroups {
  struct Group {
    unsigned issued = 0, unfinished = 0;
  };
  std::deque<Group> groups{1};  // the last is open
  std::uint32_t first = 1;      // number of the first of `groups`
  std::uint32_t waited = 0;     // number of the last one waited for
  unsigned agent = 0;
  bool waiting = false;
  int line = 0;

  std::uint32_t open_number() const {
    return first + static_cast<std::uint32_t>(groups.size()) - 1;
  }
  Group& group(std::uint32_t number) { return groups[number - first]; }
  void forget_before(std::uint32_t number);
  // Whether there are stores that nobody has waited for.
  bool unfinished() const;
};

// What a swizzle of `span` bytes makes of an address.
unsigned swizzled(unsigned address, unsigned span);

// The block of rank `cta` in the cluster of the current thread's block; fails if there is none.
Block& cluster_block(unsigned cta, int line);

}  // namespace emu
