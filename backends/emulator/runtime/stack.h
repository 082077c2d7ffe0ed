// The calls that led a thread to where it is, as places in the kernel's library.
#pragma once

#include <cstdint>
#include <vector>

namespace emu {

struct Thread;

// Offsets into the kernel's library, innermost first.
using Stack = std::vector<std::uint64_t>;

// The library whose code counts: any address in it will do.
void set_kernel_library(const void* address);

// Of the running thread, and of one that waits.
Stack running_stack();
Stack waiting_stack(const Thread& thread);

// Makes running_stack tell of the place that a signal interrupted; `context` is its handler's.
void set_interrupted(const void* context);

}  // namespace emu
