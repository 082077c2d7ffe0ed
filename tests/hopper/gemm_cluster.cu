// Two CTAs of a cluster compute neighbouring tiles of the same rows: each brings half of the rows
// and sends it to both. A stage is free when the consumers of both CTAs have given it back.

constexpr int pairs_n = (tiles_n + 1) / 2;
constexpr u16 both = 3;

MOE_DEVICE void produce(const Arguments& a) {
    const int rank = cluster_rank();
    Ring ring{0, 0};
    MOE_ROLL
    for (int at = cta_index() / 2; at < tiles_m * pairs_n; at += cta_count() / 2) {
        const int row = at % tiles_m * tile + rank * group_rows;
        const int column = (at / tiles_m * 2 + rank) * tile;
        MOE_ROLL
        for (int k = 0; k < blocks_k; ++k) {
            const u32 place = ring.stage * stage_bytes, done = full + ring.stage * 8;
            barrier_wait(empty + ring.stage * 8, ring.parity ^ 1);
            if (elect()) {
                barrier_arrive_expect(done, stage_bytes);
                tensor_load_multicast(place + rank * half_bytes, a.left,
                                      Box<2>{{k * block_k, row}}, done, both);
                tensor_load(place + operand_bytes, a.right, Box<2>{{k * block_k, column}}, done);
            }
            sync_warp();
            advance(ring);
        }
    }
}

// One lane for each CTA of the cluster.
MOE_DEVICE void give_back(int stage) {
    if (lane_index() < 2) peer_arrive(peer_address(empty + stage * 8, lane_index()));
}

MOE_DEVICE void consume(const Arguments& a, int group) {
    const int rank = cluster_rank();
    Ring ring{0, 0};
    MOE_ROLL
    for (int at = cta_index() / 2; at < tiles_m * pairs_n; at += cta_count() / 2) {
        const int row = at % tiles_m * tile + group * group_rows;
        const int column = (at / tiles_m * 2 + rank) * tile;
        float sum[tile / 2];
        multiply_stage<true>(sum, ring, group);
        int before = ring.stage;
        advance(ring);
        MOE_ROLL
        for (int k = 1; k < blocks_k; ++k) {
            multiply_stage<false>(sum, ring, group);
            group_wait<1>();
            give_back(before);
            before = ring.stage;
            advance(ring);
        }
        group_wait<0>(sum);
        give_back(before);
        store_tile(a.result, sum, group, row, column);
    }
    if (thread_index() % 128 == 0) bulk_wait<0>();
}

MOE_KERNEL(384, 1) kernel(MOE_ARGUMENTS Arguments a) {
    if (thread_index() == 0) {
        prefetch_map(a.left);
        prefetch_map(a.right);
        for (int i = 0; i < stages; ++i) {
            barrier_init(full + i * 8, 1);
            barrier_init(empty + i * 8, 2 * groups * 4);
        }
        fence_barrier_init();
    }
    sync_cluster();
    if (warp_index() < 4) {
        lower_registers<40>();
        if (warp_index() == 0) {
            role("producer");
            produce(a);
        }
    } else {
        const int group = warp_index() / 4 - 1;
        role("consumer", group);
        raise_registers<232>();
        consume(a, group);
    }
    // The other CTA may still arrive at barriers of this one.
    sync_warp();
    sync_cluster();
}
