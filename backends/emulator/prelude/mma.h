// Warp-level matrix multiplication: ldmatrix and mma.sync.
#pragma once

#include "async.h"

namespace moe {

template <int kMatrices>
MOE_DEVICE void load_matrices(u32 (&result)[kMatrices], u32 offset, MOE_LINE) {
    emu_ldmatrix(result, kMatrices, 0, shared_address(offset), line);
}

template <int kMatrices>
MOE_DEVICE void load_matrices_transposed(u32 (&result)[kMatrices], u32 offset, MOE_LINE) {
    emu_ldmatrix(result, kMatrices, 1, shared_address(offset), line);
}

MOE_DEVICE void multiply_add(float (&sum)[4], const u32 (&left)[4], const u32 (&right)[2], bf16,
                             MOE_LINE) {
    emu_mma(EMU_MMA_BF16, sum, left, right, line);
}

MOE_DEVICE void multiply_add(float (&sum)[4], const u32 (&left)[4], const u32 (&right)[2], f16,
                             MOE_LINE) {
    emu_mma(EMU_MMA_F16, sum, left, right, line);
}

MOE_DEVICE void multiply_add(float (&sum)[4], const u32 (&left)[4], const u32 (&right)[2], tf32,
                             MOE_LINE) {
    emu_mma(EMU_MMA_TF32, sum, left, right, line);
}

// To nearest, ties away from zero: half a unit of the kept fraction is added to the magnitude.
MOE_DEVICE u32 round_tf32(u32 bits) {
    const bool finite = (bits & 0x7f800000u) != 0x7f800000u;
    return finite ? (bits + 0x1000u) & 0xffffe000u : bits & 0xffffe000u;
}

}  // namespace moe
