// Threads, memory, barriers. Shared memory is one block; a place in it is a byte offset.
#pragma once

#include "words.h"

namespace moe {

MOE_DEVICE int thread_index() { return static_cast<int>(emu_self->thread.x); }
MOE_DEVICE int lane_index() { return static_cast<int>(emu_self->thread.x & 31u); }
MOE_DEVICE int warp_index() { return static_cast<int>(emu_self->thread.x >> 5); }
MOE_DEVICE int cta_index() { return static_cast<int>(emu_self->block.x); }
MOE_DEVICE int cta_count() { return static_cast<int>(emu_self->grid.x); }

MOE_DEVICE void sync_cta(MOE_LINE) { emu_barrier_sync(0, 0, line); }
MOE_DEVICE void sync_warp(MOE_LINE) { emu_warp_sync(0xffffffffu, line); }

MOE_DEVICE int shuffle_up(int value, int distance, MOE_LINE) {
    return static_cast<int>(emu_shuffle(0xffffffffu, static_cast<u32>(value), EMU_SHUFFLE_UP,
                                        static_cast<u32>(distance), line));
}

template <class T>
MOE_DEVICE T* opaque(T* address) {
    return address;
}

template <class T>
MOE_DEVICE T shared_load(u32 offset, MOE_LINE) {
    T value;
    emu_shared_read(EMU_SHARED_BASE + offset, &value, sizeof value, line);
    return value;
}

template <class T>
MOE_DEVICE void shared_store(u32 offset, T value, MOE_LINE) {
    emu_shared_write(EMU_SHARED_BASE + offset, &value, sizeof value, line);
}

template <class T>
MOE_DEVICE T global_load(const T* source, MOE_LINE) {
    T value;
    emu_global_read(source, &value, sizeof value, line);
    return value;
}

MOE_DEVICE Floats global_load_fresh(const float* source, MOE_LINE) {
    Floats result;
    emu_global_read(source, &result, sizeof result, line);
    return result;
}

template <class T>
MOE_DEVICE void global_store(T* target, T value, MOE_LINE) {
    emu_global_write(target, &value, sizeof value, line);
}

MOE_DEVICE int atomic_add(int* target, int value, MOE_LINE) {
    return static_cast<int>(
        emu_atomic(target, EMU_ADD_I32, static_cast<u32>(value), EMU_RELAXED, line));
}

MOE_DEVICE void atomic_add(float* target, float value, MOE_LINE) {
    emu_atomic(target, EMU_ADD_F32, bits_as<u32>(value), EMU_RELAXED, line);
}

// Four additions, each by itself; on the device one vector instruction, hence the alignment.
MOE_DEVICE void atomic_add(float* target, Floats value, MOE_LINE) {
    if (reinterpret_cast<unsigned long long>(target) % sizeof value) {
        emu_fail("alignment", "adds 16 bytes at an address that is no multiple of 16", line);
    }
    for (int i = 0; i < 4; ++i) atomic_add(target + i, value.value[i], line);
}

MOE_DEVICE void fence_device(MOE_LINE) { emu_fence(line); }

}  // namespace moe
