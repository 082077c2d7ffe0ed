#include "async.h"

#include "report.h"
#include "scheduler.h"

namespace emu {

static std::deque<Operation> under_way;

void issue(Operation operation) {
  if (arrives_at_once()) {
    operation.land();
  } else {
    under_way.push_back(std::move(operation));
  }
  maybe_yield();
}

bool land_one() {
  if (under_way.empty()) return false;
  std::size_t at = 0;
  if (policy.order == Order::lifo) at = under_way.size() - 1;
  if (policy.order == Order::random) at = random_below(static_cast<unsigned>(under_way.size()));
  const Operation operation = std::move(under_way[at]);
  under_way.erase(under_way.begin() + static_cast<std::ptrdiff_t>(at));
  operation.land();
  return true;
}

const Operation* find_operation(const Block& block, unsigned offset) {
  for (const Operation& operation : under_way) {
    if (operation.block == &block && offset >= operation.to &&
        offset < operation.to + operation.bytes) {
      return &operation;
    }
  }
  return nullptr;
}

void expect_landed(const Block& block) {
  for (const Operation& operation : under_way) {
    if (operation.block == &block) {
      fail("unfinished", operation.line,
           text("block %u ends while an asynchronous operation on it is under way", block.index));
    }
  }
  for (const auto& [offset, barrier] : block.mbarriers) {
    if (barrier.loaded > barrier.waited) {
      fail("unfinished", barrier.load_line,
           text("block %u ends and nobody has waited for the load that the mbarrier at byte %u "
                "counts",
                block.index, offset));
    }
  }
}

void BulkGroups::forget_before(std::uint32_t number) {
  for (; first < number; first++) groups.pop_front();
}

bool BulkGroups::unfinished() const {
  std::uint32_t number = first;
  for (const Group& group : groups) {
    if (number++ > waited && group.issued) return true;
  }
  return false;
}

}  // namespace emu
