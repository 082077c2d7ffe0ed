#include "report.h"

#include <unistd.h>

#include <cstdarg>
#include <cstdio>

#include "scheduler.h"

namespace emu {

std::string text(const char* format, ...) {
  char buffer[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(buffer, sizeof buffer, format, arguments);
  va_end(arguments);
  return buffer;
}

static std::string watch_place;

void suggest_watch(const std::string& place) { watch_place = place; }

static void print_stack(const Stack& stack) {
  for (std::uint64_t offset : stack) printf("frame %llx\n", static_cast<unsigned long long>(offset));
}

void fail(const char* kind, int line, const std::string& message, const std::vector<Note>& notes) {
  printf("finding %s\nline %d\nmessage %s\n", kind, line, message.c_str());
  print_stack(running_stack());
  for (const Note& note : notes) {
    printf("note %d %s\n", note.line, note.text.c_str());
    print_stack(note.stack);
  }
  if (!watch_place.empty()) printf("watch %s\n", watch_place.c_str());
  fflush(stdout);
  _exit(1);
}

void fail_here(const char* kind, int line, const std::string& message, std::vector<Note> notes) {
  if (current) notes.insert(notes.begin(), {0, "by " + describe(*current)});
  fail(kind, line, message, notes);
}

}  // namespace emu

extern "C" void emu_fail(const char* kind, const char* message, int line) {
  emu::fail_here(kind, line, message);
}
