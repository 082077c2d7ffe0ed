// Clusters: CTAs that reach each other's shared memory. Here an address of the cluster is that of
// the CTA's own memory and, above it, 1 + the CTA's rank.
#pragma once

#include "hopper_barrier.h"

namespace moe {

MOE_DEVICE int cluster_rank() { return static_cast<int>(emu_cluster_rank()); }
MOE_DEVICE int cluster_size() { return static_cast<int>(emu_cluster_size()); }

MOE_DEVICE void cluster_arrive(MOE_LINE) { emu_cluster_arrive(line); }
MOE_DEVICE void cluster_wait(MOE_LINE) { emu_cluster_wait(line); }

MOE_DEVICE void sync_cluster(MOE_LINE) {
    emu_cluster_arrive(line);
    emu_cluster_wait(line);
}

constexpr u32 rank_shift = 24;

MOE_DEVICE u32 peer_address(u32 offset, int rank) {
    return static_cast<u32>(rank + 1) << rank_shift | shared_address(offset);
}

MOE_DEVICE u32 rank_of(u32 address) {
    const u32 rank = address >> rank_shift;
    return rank ? rank - 1 : emu_cluster_rank();
}

MOE_DEVICE u32 within_cta(u32 address) { return address & ((1u << rank_shift) - 1); }

MOE_DEVICE void peer_arrive(u32 address, MOE_LINE) {
    emu_mbarrier_arrive(within_cta(address), rank_of(address), line);
}

MOE_DEVICE void peer_arrive_release(u32 address, MOE_LINE) { peer_arrive(address, line); }

template <class T>
MOE_DEVICE void peer_store(u32 address, T value, MOE_LINE) {
    static_assert(sizeof value == sizeof(u32) || sizeof value == sizeof(Words));
    emu_cluster_write(rank_of(address), within_cta(address), &value, sizeof value, line);
}

MOE_DEVICE u32 peer_load(u32 address, MOE_LINE) {
    u32 value;
    emu_cluster_read(rank_of(address), within_cta(address), &value, sizeof value, line);
    return value;
}

}  // namespace moe
