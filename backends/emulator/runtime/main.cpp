// Runs one launch: reads a request from standard input, writes what came of it to standard output.
//
// A request is lines of "key values". Buffers lie in the file that descriptor `memory` names, each
// on pages of its own; they are mapped far apart, so that a stray address hits nothing.

#include <dlfcn.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <sstream>

#include "global.h"
#include "report.h"
#include "scheduler.h"

namespace emu {

struct Request {
  std::string kernel;
  Launch launch;
  int memory = -1;
  double timeout = 20;
  std::vector<unsigned char> arguments;
  struct Pointer {
    std::size_t at, buffer;
    long long addend;
  };
  std::vector<Pointer> pointers;
};

static void map_buffer(Request& request, std::istringstream& words) {
  constexpr std::size_t apart = std::size_t{1} << 32;
  Buffer buffer;
  std::size_t file_offset, skip, gaps;
  std::string uses;
  words >> buffer.name >> file_offset >> skip >> buffer.bytes >> uses >> gaps;
  buffer.writable = uses.find('w') != std::string::npos;
  buffer.write_once = uses.find('1') != std::string::npos;
  buffer.undefined = uses.find('u') != std::string::npos;
  const std::size_t mapped = skip + buffer.bytes;
  void* room = mmap(nullptr, mapped + apart, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                    -1, 0);
  if (room == MAP_FAILED) fail("machine", 0, "no address space for the buffers");
  if (mapped) {
    void* memory = mmap(static_cast<unsigned char*>(room) + apart / 2, mapped,
                        PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, request.memory,
                        static_cast<off_t>(file_offset));
    if (memory == MAP_FAILED) fail("machine", 0, "cannot map the buffers");
  }
  buffer.base = static_cast<unsigned char*>(room) + apart / 2 + skip;
  if (races_on && buffer.writable) buffer.cells.resize(buffer.bytes);
  if (buffer.write_once || buffer.undefined) buffer.written.resize(buffer.bytes);
  if (gaps) {
    const auto behind = static_cast<off_t>(file_offset + mapped);
    if (pread(request.memory, buffer.written.data(), gaps, behind) < 0) {
      fail("machine", 0, "cannot read the buffers");
    }
    for (std::uint8_t& mark : buffer.written) mark *= Buffer::gap;
  }
  buffers().push_back(std::move(buffer));
}

static void read_arguments(Request& request, std::istringstream& words) {
  std::string digits;
  words >> digits;
  for (std::size_t i = 0; i + 2 <= digits.size(); i += 2) {
    request.arguments.push_back(
        static_cast<unsigned char>(std::stoi(digits.substr(i, 2), nullptr, 16)));
  }
}

static void read_policy(std::istringstream& words) {
  std::string order, arrival;
  words >> order >> arrival >> policy.seed;
  policy.order = order == "fifo" ? Order::fifo : order == "lifo" ? Order::lifo : Order::random;
  policy.arrival = arrival == "earliest" ? Arrival::earliest
                   : arrival == "latest" ? Arrival::latest
                                         : Arrival::random;
}

static Request read_request(std::istream& in) {
  Request request;
  std::string line, key;
  while (std::getline(in, line)) {
    std::istringstream words(line);
    words >> key;
    if (key == "kernel") {
      std::getline(words >> std::ws, request.kernel);
    } else if (key == "launch") {
      Launch& launch = request.launch;
      words >> launch.blocks >> launch.resident >> launch.threads >> launch.shared_bytes >>
          launch.cluster >> launch.sharing >> launch.overlaps;
    } else if (key == "policy") {
      read_policy(words);
    } else if (key == "races") {
      words >> races_on;
    } else if (key == "watch") {
      std::string space;
      words >> space >> watch.number >> watch.offset;
      watch.on = true;
      watch.shared = space == "shared";
    } else if (key == "timeout") {
      words >> request.timeout;
    } else if (key == "memory") {
      words >> request.memory;
    } else if (key == "buffer") {
      map_buffer(request, words);
    } else if (key == "arguments") {
      read_arguments(request, words);
    } else if (key == "pointer") {
      Request::Pointer pointer;
      words >> pointer.at >> pointer.buffer >> pointer.addend;
      request.pointers.push_back(pointer);
    } else {
      fail("machine", 0, "unknown key in the request: " + key);
    }
  }
  return request;
}

static void fill_pointers(Request& request) {
  for (const auto& pointer : request.pointers) {
    const auto address = reinterpret_cast<std::uint64_t>(buffers()[pointer.buffer].base) +
                         static_cast<std::uint64_t>(pointer.addend);
    std::memcpy(request.arguments.data() + pointer.at, &address, sizeof address);
  }
}

static void load(Request& request) {
  void* library = dlopen(request.kernel.c_str(), RTLD_NOW);
  if (!library) fail("machine", 0, dlerror());
  const auto size = static_cast<const unsigned*>(dlsym(library, "emu_argument_bytes"));
  void* entry = dlsym(library, "emu_entry");
  if (!size || !entry) fail("machine", 0, "the kernel has no entry");
  if (*size != request.arguments.size()) {
    fail("arguments", 0,
         text("the kernel takes %u bytes of arguments, the launcher brings %zu", *size,
              request.arguments.size()));
  }
  set_kernel_library(entry);
  if (request.launch.blocks % request.launch.cluster) {
    fail("arguments", 0,
         text("%u blocks do not make whole clusters of %u", request.launch.blocks,
              request.launch.cluster));
  }
  request.launch.entry = reinterpret_cast<void (*)(const void*)>(entry);
  request.launch.arguments = request.arguments.data();
}

static const char* meaning(int signal) {
  switch (signal) {
    case SIGFPE: return "divides by zero";
    case SIGILL:
    case SIGTRAP:
      return "leaves a local array, overflows an int, shifts too far or divides by zero";
    case SIGABRT: return "the emulator itself gave up";
    default: return "touches memory without an accessor, or overflows the stack";
  }
}

// The process is lost when these come; its tables are still there to be read.
static void on_fault(int signal, siginfo_t*, void* context) {
  set_interrupted(context);
  fail_here(signal == SIGABRT ? "machine" : "crash", 0, meaning(signal));
}

// Comes again and again: a launch may take as long as it likes while it brings forth something.
static void on_timeout(int, siginfo_t*, void* context) {
  static std::uint64_t results = 0;
  if (statistics.results > results) {
    results = statistics.results;
    return;
  }
  set_interrupted(context);
  std::vector<Note> notes = places();
  fail_here("timeout", 0, "the kernel does not get on", notes);
}

static void guard(double timeout) {
  static unsigned char stack[64 * 1024];
  stack_t alternative = {};
  alternative.ss_sp = stack;
  alternative.ss_size = sizeof stack;
  sigaltstack(&alternative, nullptr);
  struct sigaction action = {};
  action.sa_flags = SA_ONSTACK | SA_SIGINFO;
  action.sa_sigaction = on_fault;
  for (int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT}) sigaction(signal, &action, nullptr);
  action.sa_sigaction = on_timeout;
  sigaction(SIGALRM, &action, nullptr);
  itimerval timer = {};
  timer.it_value.tv_sec = static_cast<time_t>(timeout);
  timer.it_value.tv_usec = static_cast<suseconds_t>((timeout - static_cast<time_t>(timeout)) * 1e6);
  timer.it_interval = timer.it_value;
  setitimer(ITIMER_REAL, &timer, nullptr);
}

}  // namespace emu

int main() {
  using namespace emu;
  Request request = read_request(std::cin);
  load(request);
  fill_pointers(request);
  guard(request.timeout);
  run(request.launch);
  std::printf("ok\nswitches %llu\n", static_cast<unsigned long long>(statistics.switches));
  return 0;
}
