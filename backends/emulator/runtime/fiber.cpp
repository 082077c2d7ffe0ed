#include "fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <vector>

#include "report.h"

// The assembly saves exactly what the C calling convention says a callee must keep.
#if EMU_OWN_SWITCH && defined(__x86_64__)
extern "C" void emu_switch(void** from, void* to);
asm(R"(
.text
.globl emu_switch
emu_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");
#elif EMU_OWN_SWITCH
#if defined(__APPLE__)
#define EMU_SYMBOL "_emu_switch"
#else
#define EMU_SYMBOL "emu_switch"
#endif
extern "C" void emu_switch(void** from, void* to);
asm(".text\n.globl " EMU_SYMBOL "\n.p2align 2\n" EMU_SYMBOL ":\n" R"(
  sub sp, sp, #160
  stp x19, x20, [sp]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
)");
#endif

namespace emu {

#if EMU_OWN_SWITCH && defined(__x86_64__)

void prepare(Context& context, unsigned char* stack, std::size_t bytes, void (*entry)()) {
  auto top = reinterpret_cast<void**>(stack + bytes);
  *--top = nullptr;  // keeps the stack pointer as after a call: 8 below a multiple of 16
  *--top = reinterpret_cast<void*>(entry);
  for (int saved = 0; saved < 6; saved++) *--top = nullptr;
  context.stack_pointer = top;
}

void switch_context(Context& from, Context& to) {
  emu_switch(&from.stack_pointer, to.stack_pointer);
}

#elif EMU_OWN_SWITCH

void prepare(Context& context, unsigned char* stack, std::size_t bytes, void (*entry)()) {
  constexpr int words = 20, link_register = 11;
  auto frame = reinterpret_cast<void**>(stack + bytes) - words;
  for (int i = 0; i < words; i++) frame[i] = nullptr;
  frame[link_register] = reinterpret_cast<void*>(entry);
  context.stack_pointer = frame;
}

void switch_context(Context& from, Context& to) {
  emu_switch(&from.stack_pointer, to.stack_pointer);
}

#else

void prepare(Context& context, unsigned char* stack, std::size_t bytes, void (*entry)()) {
  getcontext(&context.saved);
  context.saved.uc_stack.ss_sp = stack;
  context.saved.uc_stack.ss_size = bytes;
  context.saved.uc_link = nullptr;
  makecontext(&context.saved, entry, 0);
}

void switch_context(Context& from, Context& to) { swapcontext(&from.saved, &to.saved); }

#endif

static std::vector<unsigned char*> free_stacks;

unsigned char* take_stack() {
  if (!free_stacks.empty()) {
    unsigned char* stack = free_stacks.back();
    free_stacks.pop_back();
    return stack;
  }
  // The page below the stack stays closed, so that an overflow is a fault and not a wrong value.
  const auto guard = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  void* memory = mmap(nullptr, guard + stack_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail("machine", 0, "no memory for the stack of an emulated thread");
  mprotect(memory, guard, PROT_NONE);
  return static_cast<unsigned char*>(memory) + guard;
}

void return_stack(unsigned char* stack) { free_stacks.push_back(stack); }

}  // namespace emu
