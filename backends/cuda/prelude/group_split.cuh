// split_k by consumers: every part of a tile leaves its sums in the workspace as they lie in
// registers, four of a thread together; the last part to arrive takes all of them from there.

namespace moe {

// Four floats of this thread, `four` of them further from the start of a consumer's sums.
MOE_DEVICE float* four_at(float* sums, int four) {
    return sums + group_thread() * 4 + four * (kGroupThreads * 4);
}

template <class Sums>
MOE_DEVICE void store_sums(float* target, const Sums& sums) {
    MOE_UNROLL
    for (int tall = 0; tall < Sums::kTall; ++tall) {
        MOE_UNROLL
        for (int eight = 0; eight < Sums::kFlat / 8; ++eight) {
            Words four;
            MOE_UNROLL
            for (int i = 0; i < 4; ++i) four.word[i] = bits_of(sums.at(tall, eight, i));
            float* const to = four_at(target, tall * (Sums::kFlat / 8) + eight);
            global_store(reinterpret_cast<Words*>(to), four);
        }
    }
}

// What `Own` sums have become over all kSplits splits of a tile, `stride` floats apart from `source`
// on. They are added in the order of the splits, and only as they leave, part by part: no register
// holds them before. With kAhead the next part is on its way while one leaves.
template <int kSplits, bool kAhead, class Own>
struct JoinedSums : Own::Parts {
    using Parts = typename Own::Parts;
    float* source;
    i64 stride;
    Floats of[kAhead ? 4 : 1][kSplits];  // by eight flat positions

    MOE_DEVICE JoinedSums(float* the_source, i64 the_stride)
        : source(the_source), stride(the_stride) {
        if constexpr (kAhead) load(0);
    }

    MOE_DEVICE void load(int part) {
        MOE_UNROLL
        for (int j = 0; j < 4; ++j) load(part, j);
    }

    // Eight flat positions of a part, if they are there.
    MOE_DEVICE void load(int part, int j) {
        if (j >= Parts::eights(part)) return;
        const int first = part / Parts::kFlatParts * (Parts::kFlat / 8) + part % Parts::kFlatParts * 4;
        float* const from = four_at(source, first + j);
        MOE_UNROLL
        for (int split = 0; split < kSplits; ++split) {
            of[kAhead ? j : 0][split] = global_load_fresh(from + split * stride);
        }
    }

    // Parts are taken in their order.
    MOE_DEVICE void take(float (&taken)[4][4], int part) {
        MOE_UNROLL
        for (int j = 0; j < 4; ++j) {
            if (j >= Parts::eights(part)) continue;
            if constexpr (!kAhead) load(part, j);
            const Floats(&four)[kSplits] = of[kAhead ? j : 0];
            MOE_UNROLL
            for (int i = 0; i < 4; ++i) {
                taken[j][i] = four[0].value[i];
                MOE_UNROLL
                for (int split = 1; split < kSplits; ++split) {
                    taken[j][i] = add(taken[j][i], four[split].value[i]);
                }
            }
        }
        if (kAhead && part + 1 < Parts::kParts) load(part + 1);
    }
};

// As arrive_last, for the threads of one consumer.
MOE_DEVICE bool arrive_last_group(int* semaphore, int parts, u32 scratch, int named) {
    named_sync(named, kGroupThreads);
    if (group_thread() == 0) {
        fence_device();
        const bool last = atomic_add(semaphore, 1) == parts - 1;
        fence_device();
        if (last) global_store(semaphore, 0);
        shared_store(scratch, static_cast<int>(last));
    }
    named_sync(named, kGroupThreads);
    return shared_load<int>(scratch) != 0;
}

}  // namespace moe
