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

// What `Own` sums have become over all kSplits parts of a tile, `stride` floats apart from `source` on.
// They are added in the order of the parts, and only as they leave: no register holds them before.
template <int kSplits, class Own>
struct JoinedSums : Own::Parts {
    using Parts = typename Own::Parts;
    float* source;
    i64 stride;

    MOE_DEVICE JoinedSums(float* the_source, i64 the_stride)
        : source(the_source), stride(the_stride) {}

    MOE_DEVICE void take(float (&taken)[4][4], int part) const {
        const int first = part / Parts::kFlatParts * (Parts::kFlat / 8) + part % Parts::kFlatParts * 4;
        MOE_UNROLL
        for (int j = 0; j < 4; ++j) {
            if (j >= Parts::eights(part)) continue;
            float* const from = four_at(source, first + j);
            Floats of[kSplits];
            MOE_UNROLL
            for (int split = 0; split < kSplits; ++split) {
                of[split] = global_load_fresh(from + split * stride);
            }
            MOE_UNROLL
            for (int i = 0; i < 4; ++i) {
                taken[j][i] = of[0].value[i];
                MOE_UNROLL
                for (int split = 1; split < kSplits; ++split) {
                    taken[j][i] = add(taken[j][i], of[split].value[i]);
                }
            }
        }
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
