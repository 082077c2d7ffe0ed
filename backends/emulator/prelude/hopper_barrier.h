// Barriers between roles: mbarriers, numbered barriers, fences.
#pragma once

#include "async.h"

namespace moe {

using u64 = unsigned long long;

MOE_DEVICE void barrier_init(u32 barrier, u32 arrivals, MOE_LINE) {
    emu_mbarrier_init(shared_address(barrier), arrivals, line);
}

MOE_DEVICE void fence_barrier_init(MOE_LINE) { emu_fence_mbarrier_init(line); }

MOE_DEVICE void barrier_arrive(u32 barrier, MOE_LINE) {
    emu_mbarrier_arrive(shared_address(barrier), emu_cluster_rank(), line);
}

MOE_DEVICE void barrier_expect(u32 barrier, u32 bytes, MOE_LINE) {
    emu_mbarrier_expect(shared_address(barrier), bytes, line);
}

MOE_DEVICE void barrier_arrive_expect(u32 barrier, u32 bytes, MOE_LINE) {
    barrier_expect(barrier, bytes, line);
    barrier_arrive(barrier, line);
}

MOE_DEVICE void barrier_arrive_copies(u32 barrier, MOE_LINE) {
    emu_copy_arrive(shared_address(barrier), line);
}

MOE_DEVICE void barrier_wait(u32 barrier, u32 parity, MOE_LINE) {
    emu_mbarrier_wait(shared_address(barrier), parity, line);
}

MOE_DEVICE void barrier_wait_cluster(u32 barrier, u32 parity, MOE_LINE) {
    emu_mbarrier_wait(shared_address(barrier), parity, line);
}

MOE_DEVICE void fence_async(MOE_LINE) { emu_fence_proxy_async(line); }
MOE_DEVICE void fence_async_global(MOE_LINE) { emu_fence_proxy_async(line); }

MOE_DEVICE void named_sync(int barrier, int threads, MOE_LINE) {
    emu_barrier_sync(static_cast<u32>(barrier), static_cast<u32>(threads), line);
}

MOE_DEVICE void named_arrive(int barrier, int threads, MOE_LINE) {
    emu_barrier_arrive(static_cast<u32>(barrier), static_cast<u32>(threads), line);
}

}  // namespace moe
