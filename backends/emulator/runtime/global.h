// The buffers a kernel was given, and what may be done to them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "race.h"

namespace emu {

struct Buffer {
  std::string name;
  unsigned char* base = nullptr;
  std::size_t bytes = 0;
  bool writable = false;
  // Every byte may be written at most once (plain stores; atomics do not count).
  bool write_once = false;
  // Nothing may be read that was not written before.
  bool undefined = false;
  // By byte: whether it was written, or `gap` where nobody may write.
  std::vector<std::uint8_t> written = {};
  static constexpr std::uint8_t gap = 2;
  Cells cells = {};
};

std::vector<Buffer>& buffers();

// The buffer that holds [at, at + bytes); fails, naming the nearest, if there is none, and if the
// current thread may not touch memory yet.
Buffer& find_buffer(const void* at, std::size_t bytes, int line, const char* verb);

// Checks a write to come by a bulk store of the current thread.
void check_bulk_write(void* to, unsigned bytes, int line);

// Wakes the threads that wait for the flag at `at`.
void flag_changed(const void* at);

}  // namespace emu
