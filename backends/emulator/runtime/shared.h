// A block's shared memory, what is known of every 2 bytes of it, and the copies under way to it.
#pragma once

#include <cstdint>
#include <vector>

#include "race.h"

namespace emu {

struct Block;
struct Thread;

constexpr unsigned granule_bytes = 2;

enum class Content : std::uint8_t { undefined, defined, in_flight, mbarrier };
// How reports call bytes that cannot be read: "which nobody has written".
const char* obstacle(Content content);
// The kind of what is found where such bytes are read.
const char* kind_of(Content content);

struct SharedMemory {
  unsigned char* data = nullptr;
  unsigned bytes = 0;
  std::vector<Content> contents;
  Cells cells;

  void resize(unsigned size);
  // Fills [offset, offset + size) with NaNs: a value that no correct kernel can let through.
  void poison(unsigned offset, unsigned size);
  void set(unsigned offset, unsigned size, Content content);

 private:
  std::vector<unsigned char> storage;
};

// One asynchronous copy of a thread.
struct Copy {
  std::uint32_t number;  // among those of its thread, from 1
  unsigned offset, bytes;
  unsigned char source[16];
  bool landed;
  int line;
};

// The copies of a thread in commit order; the last group is the one still open.
class CopyGroups {
 public:
  void add(const Copy& copy);
  std::uint32_t next_number() const { return issued_ + 1; }
  void commit();
  // Completes all but the `pending` groups committed last; returns the number of the last copy of
  // those, 0 if there is none.
  std::uint32_t wait(SharedMemory& shared, unsigned pending);
  bool open() const { return !copies_.empty(); }
  int last_line() const { return copies_.back().line; }
  // All of them, for an mbarrier to count: nobody can wait for their groups any more.
  std::vector<Copy> take();
  // The copy under way to the byte at `offset`, if it is one of these.
  const Copy* find(unsigned offset) const;

 private:
  std::uint32_t issued_ = 0;
  std::vector<Copy> copies_;
  std::vector<unsigned> group_ends_;  // in copies_, of committed groups
};

// The copy's bytes are there.
void land(SharedMemory& shared, const Copy& copy);
// Bounds, alignment and content of an access of the current thread; returns the byte offset.
unsigned check_shared(unsigned address, unsigned bytes, unsigned alignment, int line,
                      const char* verb);
// Fails if a copy is under way to any of the bytes.
void expect_idle(const Block& block, unsigned offset, unsigned bytes, int line);
void read_shared(unsigned address, void* to, unsigned bytes, int line);
void write_shared(unsigned address, const void* from, unsigned bytes, int line);
// The same in the memory of another block of the cluster.
void read_shared(Block& block, unsigned address, void* to, unsigned bytes, int line);
void write_shared(Block& block, unsigned address, const void* from, unsigned bytes, int line);

}  // namespace emu
