// Bulk copies of consecutive bytes.
#pragma once

#include "hopper_barrier.h"

namespace moe {

MOE_DEVICE void bulk_load(u32 offset, const void* source, u32 bytes, u32 barrier, MOE_LINE) {
    emu_bulk_load(shared_address(offset), source, bytes, shared_address(barrier), line);
}

MOE_DEVICE void bulk_store(void* target, u32 offset, u32 bytes, MOE_LINE) {
    emu_bulk_store(target, shared_address(offset), bytes, line);
}

MOE_DEVICE void bulk_commit(MOE_LINE) { emu_bulk_commit(line); }

template <int kPending>
MOE_DEVICE void bulk_wait(MOE_LINE) {
    emu_bulk_wait(kPending, 0, line);
}

template <int kPending>
MOE_DEVICE void bulk_wait_read(MOE_LINE) {
    emu_bulk_wait(kPending, 1, line);
}

}  // namespace moe
