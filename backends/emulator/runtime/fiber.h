// One execution context per emulated thread, switched by hand.
#pragma once

#include <cstddef>

// Elsewhere, and where EMU_UCONTEXT is defined, the system switches: some twenty times slower.
#if (defined(__x86_64__) || defined(__aarch64__)) && !defined(EMU_UCONTEXT)
#define EMU_OWN_SWITCH 1
#else
#define EMU_OWN_SWITCH 0
#include <ucontext.h>
#endif

namespace emu {

struct Context {
#if EMU_OWN_SWITCH
  void* stack_pointer = nullptr;
#else
  ucontext_t saved;
#endif
};

// Makes `context` start in `entry` (which must never return) on a stack of its own.
void prepare(Context& context, unsigned char* stack, std::size_t bytes, void (*entry)());

// Suspends the running context into `from` and resumes `to`.
void switch_context(Context& from, Context& to);

// Stacks are recycled between blocks: a launch has few blocks at a time and many in all.
constexpr std::size_t stack_bytes = 128 * 1024;
unsigned char* take_stack();
void return_stack(unsigned char* stack);

}  // namespace emu
