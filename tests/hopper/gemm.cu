// One CTA a tile, tile after tile: a producer warp, two consumer warpgroups.

MOE_DEVICE void produce(const Arguments& a) {
    Ring ring{0, 0};
    MOE_ROLL
    for (int at = cta_index(); at < tiles_m * tiles_n; at += cta_count()) {
        const int row = at % tiles_m * tile, column = at / tiles_m * tile;
        MOE_ROLL
        for (int k = 0; k < blocks_k; ++k) {
            const u32 place = ring.stage * stage_bytes, done = full + ring.stage * 8;
            barrier_wait(empty + ring.stage * 8, ring.parity ^ 1);
            if (elect()) {
                barrier_arrive_expect(done, stage_bytes);
                tensor_load(place, a.left, Box<2>{{k * block_k, row}}, done, keep_long);
                tensor_load(place + operand_bytes, a.right, Box<2>{{k * block_k, column}}, done);
            }
            sync_warp();
            advance(ring);
        }
    }
}

MOE_DEVICE void consume(const Arguments& a, int group) {
    Ring ring{0, 0};
    MOE_ROLL
    for (int at = cta_index(); at < tiles_m * tiles_n; at += cta_count()) {
        const int row = at % tiles_m * tile + group * group_rows, column = at / tiles_m * tile;
        float sum[tile / 2];
        multiply_stage<true>(sum, ring, group);
        int before = ring.stage;
        advance(ring);
        MOE_ROLL
        for (int k = 1; k < blocks_k; ++k) {
            multiply_stage<false>(sum, ring, group);
            group_wait<1>();
            if (lane_index() == 0) barrier_arrive(empty + before * 8);
            before = ring.stage;
            advance(ring);
        }
        group_wait<0>(sum);
        if (lane_index() == 0) barrier_arrive(empty + before * 8);
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
            barrier_init(empty + i * 8, groups * 4);
        }
        fence_barrier_init();
    }
    sync_cta();
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
}
