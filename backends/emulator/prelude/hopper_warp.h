// What a warp of Hopper does together, its share of registers, and launches that overlap.
#pragma once

#include "hopper_barrier.h"

namespace moe {

MOE_DEVICE void role(const char* name, int number = -1) { emu_role(name, number); }

MOE_DEVICE int uniform(int value, MOE_LINE) {
    return static_cast<int>(
        emu_shuffle(0xffffffffu, static_cast<u32>(value), EMU_SHUFFLE_INDEX, 0, line));
}

MOE_DEVICE bool elect(MOE_LINE) { return emu_elect(0xffffffffu, line) != 0; }

template <int kMatrices>
MOE_DEVICE void store_matrices(u32 offset, const u32 (&value)[kMatrices], MOE_LINE) {
    emu_stmatrix(value, kMatrices, 0, shared_address(offset), line);
}

template <int kMatrices>
MOE_DEVICE void store_matrices_transposed(u32 offset, const u32 (&value)[kMatrices], MOE_LINE) {
    emu_stmatrix(value, kMatrices, 1, shared_address(offset), line);
}

template <int kCount>
MOE_DEVICE void lower_registers(MOE_LINE) {
    emu_set_registers(kCount, 0, line);
}

template <int kCount>
MOE_DEVICE void raise_registers(MOE_LINE) {
    emu_set_registers(kCount, 1, line);
}

}  // namespace moe
