// Accesses that nothing orders, in shared memory by 2 bytes and in global memory by 2 bytes.
//
// Only the place and the other agent are known when a race shows. A second run of the same launch
// watches that place, and tells where the other access stands.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "order.h"

namespace emu {

struct Buffer;

enum class Access { read, write };

// What is remembered of a place: its last write, and the reads since then that are not ordered
// before one another. Where many agents of a block read, `many` holds a clock for each of them.
struct Cell {
  Event written;
  std::vector<Event> read;
  Clocks many;
};

// 16 bytes, which most accesses take at once: one cell stands for all of them until an access takes
// fewer; then each granule has its own, until all are written at once.
constexpr unsigned chunk_bytes = 16;
struct Chunk {
  Cell whole;
  std::unique_ptr<Cell[]> parts;
};

// Chunks of a memory, made where they are first needed: most of a large buffer is never looked at.
class Cells {
 public:
  void resize(std::size_t bytes) { pages_.resize(bytes / (page * chunk_bytes) + 1); }
  Chunk& operator[](std::size_t chunk) {
    auto& chunks = pages_[chunk / page];
    if (!chunks) chunks = std::make_unique<Chunk[]>(page);
    return chunks[chunk % page];
  }

 private:
  static constexpr std::size_t page = 128;
  std::vector<std::unique_ptr<Chunk[]>> pages_;
};

// The last accesses of shared memory; `offset` in bytes from its start.
void check_race(Block& block, unsigned offset, unsigned bytes, Access access, int line);
// A write by the `number`-th asynchronous copy of the current thread, at some time from here on.
void check_copy_race(Block& block, unsigned offset, unsigned bytes, std::uint32_t number, int line);
// An access by an agent of the async proxy, of which the current thread is the issuer: it happens as
// `event`, at some time from here on, and sees generic writes only behind a proxy fence.
void check_async_race(Block& block, unsigned offset, unsigned bytes, const Event& event,
                      Access access, int line);
// The same for a buffer.
void check_race(Buffer& buffer, std::size_t offset, unsigned bytes, Access access, int line);

// A place to watch: "shared BLOCK OFFSET" or "buffer NUMBER OFFSET".
struct Watch {
  bool on = false, shared = false;
  std::size_t number = 0, offset = 0;
};
extern Watch watch;

}  // namespace emu
