// Flags in global memory.
#pragma once

#include "words.h"

namespace moe {

MOE_DEVICE int flag_load_acquire(const int* flag, MOE_LINE) {
    return emu_flag_load(flag, EMU_ACQUIRE, line);
}

MOE_DEVICE void flag_store_release(int* flag, int value, MOE_LINE) {
    emu_flag_store(flag, value, EMU_RELEASE, line);
}

MOE_DEVICE void flag_add_release(int* flag, int value, MOE_LINE) {
    emu_atomic(flag, EMU_ADD_I32, static_cast<u32>(value), EMU_RELEASE, line);
}

MOE_DEVICE int flag_add(int* flag, int value, MOE_LINE) {
    return static_cast<int>(
        emu_atomic(flag, EMU_ADD_I32, static_cast<u32>(value), EMU_ACQ_REL, line));
}

MOE_DEVICE void flag_wait(const int* flag, int value, MOE_LINE) { emu_flag_wait(flag, value, line); }

}  // namespace moe
