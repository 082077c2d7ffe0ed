#include "race.h"

#include <algorithm>

#include "global.h"
#include "report.h"
#include "scheduler.h"
#include "shared.h"

namespace emu {

Watch watch;

struct Watched {
  Event event;
  Access access;
  int line;
  Stack stack;
};
static std::vector<Watched> watched;

// Where a granule lies: what a second run watches, and how it is called.
struct Place {
  bool shared;
  std::size_t number, offset;
  std::string text;
};

static std::string who(const Event& event) {
  for (const auto& block : resident_blocks()) {
    if (block->index != event.block) continue;
    const auto threads = static_cast<unsigned>(block->threads.size());
    if (event.agent < threads) return describe(block->threads[event.agent]);
    if (event.agent < 2 * threads) {
      return "an asynchronous copy of " + describe(block->threads[event.agent - threads]);
    }
    return text("%s of block %u", block->agents[event.agent - 2 * threads].c_str(), event.block);
  }
  return text("block %u, which has ended", event.block);
}

// Where the other access stands, if this run watches; otherwise asks for one that does.
static std::vector<Note> other_side(const Place& place, const Event& other, Access other_access) {
  std::vector<Note> notes;
  for (auto entry = watched.rbegin(); entry != watched.rend(); ++entry) {
    const Event& event = entry->event;
    if (entry->access == other_access && event.block == other.block &&
        event.agent == other.agent && event.clock == other.clock) {
      notes.push_back({entry->line, "the other access", entry->stack});
      break;
    }
  }
  if (!watch.on) {
    suggest_watch(text("%s %zu %zu", place.shared ? "shared" : "buffer", place.number,
                       place.offset));
  }
  return notes;
}

[[noreturn]] static void report(const Place& place, Access access, const Event& other,
                                Access other_access, int line) {
  const char* verb = access == Access::read ? "reads" : "writes";
  const char* other_verb = other_access == Access::read ? "read" : "written";
  fail_here("race", line,
            text("%s %s, which is %s by %s; nothing orders the two", verb, place.text.c_str(),
                 other_verb, who(other).c_str()),
            other_side(place, other, other_access));
}

static void remember(const Event& event, Access access, int line) {
  constexpr std::size_t most = 256;
  if (watched.size() == most) watched.erase(watched.begin(), watched.begin() + most / 2);
  watched.push_back({event, access, line, running_stack()});
}

// Reads that this one comes after need not be remembered: whoever is ordered behind this one is
// ordered behind them.
static void add_read(Cell& cell, const Event& event, const Knowledge& known) {
  constexpr std::size_t few = 16;  // the warps of four warpgroups
  if (!cell.many.empty()) {
    if (cell.many.size() <= event.agent) cell.many.resize(event.agent + 1);
    cell.many[event.agent] = event.clock;
    return;
  }
  std::size_t kept = 0;
  bool one_block = true;
  for (const Event& read : cell.read) {
    const bool earlier = read.agent == event.agent && read.block == event.block;
    if (earlier || known.includes(read, event.block)) continue;
    one_block &= read.block == event.block;
    cell.read[kept++] = read;
  }
  cell.read.resize(kept);
  if (kept < few || !one_block) {
    cell.read.push_back(event);
    return;
  }
  // Agents that came later than what is known are not in it yet.
  cell.read.push_back(event);
  std::uint32_t last = 0;
  for (const Event& read : cell.read) last = std::max(last, read.agent);
  cell.many.resize(last + 1);
  for (const Event& read : cell.read) cell.many[read.agent] = read.clock;
  cell.read.assign(1, event);  // still says which block it is
}

// A read that `known` does not include, if there is one; its clock is 0 otherwise.
static Event unordered_read(const Cell& cell, const Knowledge& known, std::uint32_t block) {
  if (cell.many.empty()) {
    for (const Event& read : cell.read) {
      if (!known.includes(read, block)) return read;
    }
    return {};
  }
  Event read{cell.read.front().block, 0, 0};
  for (; read.agent < cell.many.size(); read.agent++) {
    read.clock = cell.many[read.agent];
    if (read.clock && !known.includes(read, block)) return read;
  }
  return {};
}

// The async proxy sees a generic write only if it was told of it.
template <class MakePlace>
static void check_proxy(const Cell& cell, MakePlace make_place, int line) {
  const auto generic_agents = static_cast<std::uint32_t>(2 * current->block->threads.size());
  const Event& written = cell.written;
  if (!written.clock || written.agent >= generic_agents) return;
  if (current->time->proxied.includes(written, current->block->index)) return;
  const Place place = make_place();
  fail_here("race", line,
            text("the async proxy reaches %s, and no fence.proxy.async has shown it what %s has "
                 "written there",
                 place.text.c_str(), who(written).c_str()),
            other_side(place, written, Access::write));
}

template <class MakePlace>
static void check_cell(Cell& cell, const Event& event, Access access, int line,
                       MakePlace make_place) {
  const Knowledge& known = current->time->known;
  const std::uint32_t block = current->block->index;
  if (cell.written.clock && !known.includes(cell.written, block)) {
    report(make_place(), access, cell.written, Access::write, line);
  }
  if (access == Access::read) {
    if (cell.many.empty() || cell.read.front().block == event.block) add_read(cell, event, known);
    return;
  }
  if (const Event read = unordered_read(cell, known, block); read.clock) {
    report(make_place(), access, read, Access::read, line);
  }
  cell.read.clear();
  cell.many.clear();
  cell.written = event;
}

static void split(Chunk& chunk) {
  if (chunk.parts) return;
  constexpr unsigned count = chunk_bytes / granule_bytes;
  chunk.parts = std::make_unique<Cell[]>(count);
  for (unsigned i = 0; i < count; i++) chunk.parts[i] = chunk.whole;
}

static void merge(Chunk& chunk) {
  chunk.whole = std::move(chunk.parts[0]);
  chunk.parts.reset();
}

// Calls `visit` with the cells of an access and the byte at which each begins.
template <class Visit>
static void for_cells(Cells& cells, std::size_t offset, unsigned bytes, Access access,
                      Visit visit) {
  const std::size_t end = offset + bytes;
  for (std::size_t i = offset / chunk_bytes; i <= (end - 1) / chunk_bytes; i++) {
    Chunk& chunk = cells[i];
    const std::size_t first = i * chunk_bytes, behind = first + chunk_bytes;
    const bool covered = offset <= first && end >= behind;
    if (covered && !chunk.parts) {
      visit(chunk.whole, first);
      continue;
    }
    split(chunk);
    const std::size_t low = std::max(offset, first) / granule_bytes;
    const std::size_t high = (std::min(end, behind) - 1) / granule_bytes;
    for (std::size_t granule = low; granule <= high; granule++) {
      visit(chunk.parts[granule - first / granule_bytes], granule * granule_bytes);
    }
    if (covered && access == Access::write) merge(chunk);
  }
}

static void check_shared_cells(Block& block, unsigned offset, unsigned bytes, const Event& event,
                               Access access, int line, bool async_proxy = false) {
  if (watch.on && watch.shared && watch.number == block.index && watch.offset >= offset &&
      watch.offset < offset + bytes) {
    remember(event, access, line);
  }
  for_cells(block.shared.cells, offset, bytes, access, [&](Cell& cell, std::size_t at) {
    const auto place = [&] {
      return Place{true, block.index, at, text("byte %zu of shared memory", at)};
    };
    if (async_proxy) check_proxy(cell, place, line);
    check_cell(cell, event, access, line, place);
  });
}

void check_race(Block& block, unsigned offset, unsigned bytes, Access access, int line) {
  if (races_on) check_shared_cells(block, offset, bytes, now(*current), access, line);
}

void check_copy_race(Block& block, unsigned offset, unsigned bytes, std::uint32_t number,
                     int line) {
  if (!races_on) return;
  const Event event{block.index, copy_agent(*current), number};
  check_shared_cells(block, offset, bytes, event, Access::write, line);
}

void check_async_race(Block& block, unsigned offset, unsigned bytes, const Event& event,
                      Access access, int line) {
  if (!races_on) return;
  check_shared_cells(block, offset, bytes, event, access, line, true);
}

void check_race(Buffer& buffer, std::size_t offset, unsigned bytes, Access access, int line) {
  if (!races_on || !buffer.writable) return;
  const auto number = static_cast<std::size_t>(&buffer - buffers().data());
  const Event event = now(*current);
  if (watch.on && !watch.shared && watch.number == number && watch.offset >= offset &&
      watch.offset < offset + bytes) {
    remember(event, access, line);
  }
  for_cells(buffer.cells, offset, bytes, access, [&](Cell& cell, std::size_t at) {
    check_cell(cell, event, access, line, [&] {
      return Place{false, number, at, text("byte %zu of `%s`", at, buffer.name.c_str())};
    });
  });
}

}  // namespace emu
