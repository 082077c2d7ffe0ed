// Asynchronous copies from global to shared memory, in groups that complete in order.
#pragma once

#include "words.h"

namespace moe {

MOE_DEVICE u32 shared_address(u32 offset) { return EMU_SHARED_BASE + offset; }

MOE_DEVICE void copy_async(u32 offset, const void* source, int bytes, MOE_LINE) {
    emu_copy_async(shared_address(offset), source, 16, static_cast<u32>(bytes), line);
}

MOE_DEVICE void copy_whole_async(u32 offset, const void* source, MOE_LINE) {
    copy_async(offset, source, 16, line);
}

MOE_DEVICE void copy_commit(MOE_LINE) { emu_copy_commit(line); }

template <int kPending>
MOE_DEVICE void copy_wait(MOE_LINE) {
    emu_copy_wait(kPending, line);
}

}  // namespace moe
