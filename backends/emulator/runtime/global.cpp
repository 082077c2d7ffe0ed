#include "global.h"

#include <algorithm>
#include <cstring>

#include "report.h"
#include "scheduler.h"

namespace emu {

static std::vector<Buffer> all;
static Buffer* last_hit = nullptr;

struct FlagWaiter {
  const void* at;
  Thread* thread;
};
static std::vector<FlagWaiter> flag_waiters;

std::vector<Buffer>& buffers() { return all; }

static bool holds(const Buffer& buffer, const unsigned char* at, std::size_t bytes) {
  return at >= buffer.base && at + bytes <= buffer.base + buffer.bytes;
}

// Bytes between `at` and the buffer: negative in front of it.
static long long distance(const Buffer& buffer, const unsigned char* at) {
  return at < buffer.base ? at - buffer.base : std::max<long long>(0, at - buffer.base);
}

[[noreturn]] static void out_of_bounds(const unsigned char* at, std::size_t bytes, int line,
                                       const char* verb) {
  const Buffer* nearest = nullptr;
  long long best = 0;
  for (const Buffer& buffer : all) {
    long long away = at < buffer.base ? buffer.base - at : at - (buffer.base + buffer.bytes);
    if (!nearest || away < best) nearest = &buffer, best = away;
  }
  if (!nearest) fail_here("bounds", line, text("%s memory, but has no buffer", verb));
  fail_here("bounds", line,
            text("%s %zu bytes at byte %lld of `%s`, which has %zu bytes", verb, bytes,
                 distance(*nearest, at), nearest->name.c_str(), nearest->bytes));
}

Buffer& find_buffer(const void* pointer, std::size_t bytes, int line, const char* verb) {
  auto at = static_cast<const unsigned char*>(pointer);
  if (launch.overlaps && !current->alone) {
    fail_here("overlap", line,
              text("%s memory without having waited for the launch before this one", verb));
  }
  if (last_hit && holds(*last_hit, at, bytes)) return *last_hit;
  for (Buffer& buffer : all) {
    if (holds(buffer, at, bytes)) return *(last_hit = &buffer);
  }
  out_of_bounds(at, bytes, line, verb);
}

static std::size_t offset_in(const Buffer& buffer, const void* at) {
  return static_cast<std::size_t>(static_cast<const unsigned char*>(at) - buffer.base);
}

static Buffer& check(const void* at, unsigned bytes, bool writing, int line) {
  const char* verb = writing ? "writes" : "reads";
  Buffer& buffer = find_buffer(at, bytes, line, verb);
  const std::size_t offset = offset_in(buffer, at);
  if (reinterpret_cast<std::uintptr_t>(at) % bytes) {
    fail_here("alignment", line,
              text("%s %u bytes at byte %zu of `%s`: the address is not a multiple of %u", verb,
                   bytes, offset, buffer.name.c_str(), bytes));
  }
  if (writing && !buffer.writable) {
    fail_here("read_only", line, text("writes to `%s`, an input", buffer.name.c_str()));
  }
  return buffer;
}

static std::uint8_t* written_bytes(Buffer& buffer, const void* at) {
  return buffer.written.data() + offset_in(buffer, at);
}

void flag_changed(const void* at) {
  for (std::size_t i = 0; i < flag_waiters.size();) {
    if (flag_waiters[i].at == at) {
      make_ready(*flag_waiters[i].thread);
      flag_waiters[i] = flag_waiters.back();
      flag_waiters.pop_back();
    } else {
      i++;
    }
  }
}

static void mark_written(Buffer& buffer, const void* at, unsigned bytes, bool plain, int line) {
  statistics.results += plain;
  if (buffer.written.empty()) return;
  std::uint8_t* marks = written_bytes(buffer, at);
  for (unsigned i = 0; i < bytes; i++) {
    if (marks[i] == Buffer::gap) {
      fail_here("stray_write", line,
                text("writes byte %zu of `%s`, which lies between its elements",
                     static_cast<std::size_t>(marks - buffer.written.data()) + i,
                     buffer.name.c_str()));
    }
    if (plain && buffer.write_once && marks[i]) {
      fail_here("written_twice", line,
                text("writes byte %zu of `%s` a second time",
                     static_cast<std::size_t>(marks - buffer.written.data()) + i,
                     buffer.name.c_str()));
    }
    marks[i] = 1;
  }
}

static void expect_written(Buffer& buffer, const void* at, unsigned bytes, int line) {
  if (!buffer.undefined) return;
  const std::uint8_t* marks = written_bytes(buffer, at);
  for (unsigned i = 0; i < bytes; i++) {
    if (!marks[i]) {
      fail_here("undefined", line,
                text("reads byte %zu of `%s`, which nobody has written",
                     static_cast<std::size_t>(marks - buffer.written.data()) + i,
                     buffer.name.c_str()));
    }
  }
}

static bool acquires(EmuOrder order) { return order == EMU_ACQUIRE || order == EMU_ACQ_REL; }
static bool releases(EmuOrder order) { return order == EMU_RELEASE || order == EMU_ACQ_REL; }

void check_bulk_write(void* to, unsigned bytes, int line) {
  Buffer& buffer = find_buffer(to, bytes, line, "stores");
  if (!buffer.writable) {
    fail_here("read_only", line, text("writes to `%s`, an input", buffer.name.c_str()));
  }
  mark_written(buffer, to, bytes, true, line);
  check_race(buffer, offset_in(buffer, to), bytes, Access::write, line);
}

template <class T>
static T as(unsigned bits) {
  T value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

static unsigned float_bits(float value) {
  unsigned bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

static unsigned apply(EmuAtomic operation, unsigned old, unsigned value) {
  switch (operation) {
    case EMU_ADD_I32: return old + value;
    case EMU_ADD_F32: return float_bits(as<float>(old) + as<float>(value));
    case EMU_MAX_I32: return as<int>(old) > as<int>(value) ? old : value;
    case EMU_EXCHANGE_I32: return value;
  }
  return old;
}

}  // namespace emu

using namespace emu;

extern "C" {

void emu_global_read(const void* from, void* to, unsigned bytes, int line) {
  // Vectors that are cut short (cp.async) read less than they align to.
  Buffer& buffer = (bytes & (bytes - 1)) == 0 ? check(from, bytes, false, line)
                                              : find_buffer(from, bytes, line, "reads");
  expect_written(buffer, from, bytes, line);
  check_race(buffer, offset_in(buffer, from), bytes, Access::read, line);
  std::memcpy(to, from, bytes);
}

void emu_global_write(void* to, const void* from, unsigned bytes, int line) {
  Buffer& buffer = check(to, bytes, true, line);
  mark_written(buffer, to, bytes, true, line);
  check_race(buffer, offset_in(buffer, to), bytes, Access::write, line);
  std::memcpy(to, from, bytes);
  flag_changed(to);
}

unsigned emu_atomic(void* at, EmuAtomic operation, unsigned value, EmuOrder order, int line) {
  maybe_yield();
  Buffer& buffer = check(at, 4, true, line);
  order_atomic(*current, at, acquires(order), releases(order));
  expect_written(buffer, at, 4, line);
  unsigned old;
  std::memcpy(&old, at, sizeof old);
  const unsigned changed = apply(operation, old, value);
  std::memcpy(at, &changed, sizeof changed);
  mark_written(buffer, at, 4, false, line);
  flag_changed(at);
  return old;
}

int emu_flag_load(const int* at, EmuOrder order, int line) {
  maybe_yield();
  check(at, 4, false, line);
  order_flag_load(*current, at, acquires(order));
  return *at;
}

void emu_flag_store(int* at, int value, EmuOrder order, int line) {
  maybe_yield();
  check(at, 4, true, line);
  order_flag_store(*current, at, releases(order));
  *at = value;
  flag_changed(at);
}

void emu_flag_wait(const int* at, int value, int line) {
  check(at, 4, false, line);
  maybe_yield();
  while (*at != value) {
    flag_waiters.push_back({at, current});
    suspend({"a wait for the flag", line, static_cast<unsigned>(value)});
  }
  order_flag_load(*current, at, true);
}

void emu_fence(int) { order_fence(*current); }
}
