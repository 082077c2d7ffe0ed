// Copies of boxes of tensors. The map is an EmuTensorMap in the place of the driver's.
#pragma once

#include "hopper_barrier.h"

namespace moe {

struct alignas(64) TensorMap {
    unsigned char opaque[128];
};
static_assert(sizeof(EmuTensorMap) <= sizeof(TensorMap));

template <int kRank>
struct Box {
    int at[kRank];
};

constexpr u64 keep_normal = 0x1000000000000000, keep_briefly = 0x12f0000000000000,
              keep_long = 0x14f0000000000000;

MOE_DEVICE void prefetch_map(const TensorMap&) {}

template <int kRank>
MOE_DEVICE void tensor_load(u32 offset, const TensorMap& map, Box<kRank> box, u32 barrier,
                            u64 = keep_normal, MOE_LINE) {
    static_assert(kRank >= 2 && kRank <= 5);
    emu_tensor_load(shared_address(offset), &map, shared_address(barrier), box.at, kRank, 0, line);
}

template <int kRank>
MOE_DEVICE void tensor_load_multicast(u32 offset, const TensorMap& map, Box<kRank> box,
                                      u32 barrier, u16 ranks, u64 = keep_normal, MOE_LINE) {
    static_assert(kRank >= 2 && kRank <= 5);
    emu_tensor_load(shared_address(offset), &map, shared_address(barrier), box.at, kRank, ranks,
                    line);
}

template <int kRank>
MOE_DEVICE void tensor_store(const TensorMap& map, Box<kRank> box, u32 offset, MOE_LINE) {
    static_assert(kRank >= 2 && kRank <= 5);
    emu_tensor_store(&map, shared_address(offset), box.at, kRank, line);
}

}  // namespace moe
