// A tile of C = A B^T in bf16, 128 x 128, by two consumer warpgroups of 64 rows each. Operands come
// in stages of 64 in depth, 128-byte swizzled; the result leaves through a staging area.

constexpr int tile = 128, block_k = 64, stages = 4, groups = 2, group_rows = 64;
constexpr u32 row_bytes = 128, operand_bytes = tile * row_bytes, stage_bytes = 2 * operand_bytes;
constexpr u32 half_bytes = group_rows * row_bytes, staged_bytes = 2 * half_bytes;
constexpr u32 staging = stages * stage_bytes, full = staging + groups * staged_bytes;
constexpr u32 empty = full + stages * 8;
constexpr int blocks_k = (k_size + block_k - 1) / block_k;
constexpr int tiles_m = (m_size + tile - 1) / tile, tiles_n = (n_size + tile - 1) / tile;

struct Ring {
    int stage;
    u32 parity;
};

MOE_DEVICE void advance(Ring& ring) {
    if (++ring.stage == stages) {
        ring.stage = 0;
        ring.parity ^= 1;
    }
}

template <bool kFirst>
MOE_DEVICE void multiply_stage(float (&sum)[tile / 2], const Ring& ring, int group) {
    constexpr Product<bf16> kind{};
    const u32 base = ring.stage * stage_bytes;
    const u64 left = describe_matrix<swizzle_128>(base + group * half_bytes, 16, 8 * row_bytes);
    const u64 right = describe_matrix<swizzle_128>(base + operand_bytes, 16, 8 * row_bytes);
    barrier_wait(full + ring.stage * 8, ring.parity);
    group_fence();
    MOE_UNROLL
    for (int k = 0; k < block_k / 16; ++k) {
        if (kFirst && k == 0) {
            group_multiply(sum, left, right, kind);
        } else {
            group_multiply_add(sum, advanced(left, k * 32), advanced(right, k * 32), kind);
        }
    }
    group_commit();
}

MOE_DEVICE u32 pair(float low, float high) {
    return rounded<bf16>(low).bits | static_cast<u32>(rounded<bf16>(high).bits) << 16;
}

// The sums of one warpgroup to rows `row` and columns `column` onwards.
MOE_DEVICE void store_tile(const TensorMap& result, const float (&sum)[tile / 2], int group,
                           int row, int column) {
    const int lane = lane_index(), warp = warp_index() % 4;
    const bool leads = thread_index() % 128 == 0;
    const u32 area = staging + group * staged_bytes;
    if (leads) bulk_wait_read<0>();
    named_sync(1 + group, 128);
    const int local = warp * 16 + lane / 8 % 2 * 8 + lane % 8;
    MOE_UNROLL
    for (int j = 0; j < tile / 16; ++j) {
        const int chunk = 2 * j + lane / 16;
        const u32 place = area + chunk / 8 * half_bytes + local * row_bytes;
        const u32 value[4] = {pair(sum[8 * j], sum[8 * j + 1]), pair(sum[8 * j + 2], sum[8 * j + 3]),
                              pair(sum[8 * j + 4], sum[8 * j + 5]),
                              pair(sum[8 * j + 6], sum[8 * j + 7])};
        store_matrices(place + (chunk % 8 ^ local % 8) * 16, value);
    }
    fence_async();
    named_sync(1 + group, 128);
    if (leads) {
        MOE_UNROLL
        for (int half = 0; half < 2; ++half) {
            tensor_store(result, Box<2>{{column + 64 * half, row}}, area + half * half_bytes);
        }
        bulk_commit();
    }
}
