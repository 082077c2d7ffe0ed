// Matrix products of a warpgroup. Here one template stands for the instructions of all shapes.
#pragma once

#include "hopper_barrier.h"

namespace moe {

constexpr int by_depth = 0, by_outer = 1;

template <class T, int kLeft = by_depth, int kRight = by_depth>
struct Product {};

enum Swizzle { swizzle_none = 0, swizzle_128 = 1, swizzle_64 = 2, swizzle_32 = 3 };

template <Swizzle kSwizzle>
MOE_DEVICE u64 describe_matrix(u32 offset, u32 leading, u32 stride) {
    const u32 low = (shared_address(offset) & 0x3ffffu) >> 4 | leading >> 4 << 16;
    const u32 high = stride >> 4 | static_cast<u32>(kSwizzle) << 30;
    return static_cast<u64>(high) << 32 | low;
}

MOE_DEVICE u64 advanced(u64 matrix, u32 bytes) { return matrix + (bytes >> 4); }

MOE_DEVICE void group_fence(MOE_LINE) { emu_wgmma_fence(line); }
MOE_DEVICE void keep_left(u32 (&left)[4], MOE_LINE) { emu_wgmma_keep_left(left, line); }
MOE_DEVICE void group_commit(MOE_LINE) { emu_wgmma_commit(line); }

template <int kPending>
MOE_DEVICE void group_wait(MOE_LINE) {
    emu_wgmma_wait(kPending, line);
}

template <int kPending, int kCount>
MOE_DEVICE void group_wait(float (&)[kCount], MOE_LINE) {
    emu_wgmma_wait(kPending, line);
}

MOE_DEVICE constexpr EmuMma product_type(bf16) { return EMU_MMA_BF16; }
MOE_DEVICE constexpr EmuMma product_type(f16) { return EMU_MMA_F16; }
MOE_DEVICE constexpr EmuMma product_type(tf32) { return EMU_MMA_TF32; }

template <int kCount, class T, int kLeft, int kRight>
MOE_DEVICE void group_multiply_any(float (&sum)[kCount], u64 left, const u32* words, u64 right,
                                   Product<T, kLeft, kRight>, int adds, int line) {
    const EmuWgmma what{product_type(T{}), 2 * kCount, adds, kLeft, kRight, left, right, words};
    emu_wgmma(&what, sum, line);
}

template <int kCount, class T, int kLeft, int kRight>
MOE_DEVICE void group_multiply(float (&sum)[kCount], u64 left, u64 right,
                               Product<T, kLeft, kRight> product, MOE_LINE) {
    group_multiply_any(sum, left, nullptr, right, product, 0, line);
}

template <int kCount, class T, int kLeft, int kRight>
MOE_DEVICE void group_multiply_add(float (&sum)[kCount], u64 left, u64 right,
                                   Product<T, kLeft, kRight> product, MOE_LINE) {
    group_multiply_any(sum, left, nullptr, right, product, 1, line);
}

template <int kCount, class T, int kLeft, int kRight>
MOE_DEVICE void group_multiply(float (&sum)[kCount], const u32 (&left)[4], u64 right,
                               Product<T, kLeft, kRight> product, MOE_LINE) {
    group_multiply_any(sum, 0, left, right, product, 0, line);
}

template <int kCount, class T, int kLeft, int kRight>
MOE_DEVICE void group_multiply_add(float (&sum)[kCount], const u32 (&left)[4], u64 right,
                                   Product<T, kLeft, kRight> product, MOE_LINE) {
    group_multiply_any(sum, 0, left, right, product, 1, line);
}

}  // namespace moe
