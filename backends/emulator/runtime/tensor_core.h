// The arithmetic of Hopper's tensor cores.
#pragma once

#include "abi.h"

namespace emu {

// d += a b^T for one instruction: `rows` x `columns` sums, row after row, over `depth` (at most 16)
// elements of a's rows and b's columns, already widened. Measured on an H200, bit for bit: all terms
// of a sum are added at once and rounded towards zero.
void tensor_core_multiply(EmuMma kind, unsigned rows, unsigned columns, unsigned depth,
                          const float* a, const float* b, float* d);

// Fails if the current thread is about to add to registers that it has never set.
void expect_set(const float* sums, unsigned count, int line);

}  // namespace emu
