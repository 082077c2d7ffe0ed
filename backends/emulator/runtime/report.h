// How a launch ends. There is one launch a process, so a finding writes itself and exits.
#pragma once

#include <string>
#include <vector>

#include "stack.h"

namespace emu {

// What is said about a place in the kernel: "thread 3 of block 0 waits here". `line` is where the
// primitive was called, 0 if it is about no place; `stack` leads there, if it is known.
struct Note {
  int line;
  std::string text;
  Stack stack = {};
};

// Prints the finding as lines of "key value" to standard output and ends the process.
[[noreturn]] void fail(const char* kind, int line, const std::string& message,
                       const std::vector<Note>& notes = {});

// As above, and says which emulated thread was running.
[[noreturn]] void fail_here(const char* kind, int line, const std::string& message,
                            std::vector<Note> notes = {});

// Adds to the finding that is about to come what a second run should watch to tell more.
void suggest_watch(const std::string& place);

// printf into a string.
[[gnu::format(printf, 1, 2)]] std::string text(const char* format, ...);

}  // namespace emu
