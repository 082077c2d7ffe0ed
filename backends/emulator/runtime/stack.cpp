#include "stack.h"

#include <dlfcn.h>
#include <ucontext.h>

#include "scheduler.h"

namespace emu {

static void* library = nullptr;

void set_kernel_library(const void* address) {
  Dl_info info;
  if (dladdr(address, &info)) library = info.dli_fbase;
}

static void add(Stack& stack, const void* return_address) {
  Dl_info info;
  if (!dladdr(return_address, &info) || info.dli_fbase != library) return;
  // One byte back is inside the call, behind it may be another line.
  stack.push_back(reinterpret_cast<std::uint64_t>(return_address) -
                  reinterpret_cast<std::uint64_t>(library) - 1);
}

// Both architectures keep (caller's frame, return address) at the frame pointer.
static void walk(Stack& stack, const Thread& thread, void* const* frame) {
  const auto low = reinterpret_cast<void* const*>(thread.stack);
  const auto high = reinterpret_cast<void* const*>(thread.stack + stack_bytes) - 1;
  while (frame >= low && frame < high) {
    add(stack, frame[1]);
    const auto next = static_cast<void* const*>(frame[0]);
    if (next <= frame) return;
    frame = next;
  }
}

static bool stands_on(const Thread& thread, const void* frame) {
  return frame >= thread.stack && frame < thread.stack + stack_bytes;
}

struct Interrupted {
  const void* at = nullptr;
  void* const* frame = nullptr;
};
static Interrupted interrupted;

void set_interrupted(const void* context) {
#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))
  const auto& machine = static_cast<const ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
  const auto at = machine.gregs[REG_RIP], frame = machine.gregs[REG_RBP];
#else
  const auto at = machine.pc, frame = machine.regs[29];
#endif
  // The interrupted instruction itself counts; `add` steps back from a return address.
  interrupted = {reinterpret_cast<const char*>(at) + 1, reinterpret_cast<void* const*>(frame)};
#else
  (void)context;
#endif
}

Stack running_stack() {
  if (!current) return {};
  if (interrupted.at) {
    Stack stack;
    add(stack, interrupted.at);
    walk(stack, *current, interrupted.frame);
    return stack;
  }
  const auto frame = static_cast<void* const*>(__builtin_frame_address(0));
  // The lane that completes a collective acts for the others, which wait.
  if (!stands_on(*current, frame)) return waiting_stack(*current);
  Stack stack;
  walk(stack, *current, frame);
  return stack;
}

Stack waiting_stack(const Thread& thread) {
  Stack stack;
#if EMU_OWN_SWITCH
#if defined(__x86_64__)
  constexpr int frame_pointer = 5;  // behind r15 to rbx
#else
  constexpr int frame_pointer = 10;  // behind x19 to x28
#endif
  const auto saved = static_cast<void* const*>(thread.context.stack_pointer);
  add(stack, saved[frame_pointer + 1]);
  walk(stack, thread, static_cast<void* const*>(saved[frame_pointer]));
#else
  (void)thread;
#endif
  return stack;
}

}  // namespace emu
