// split_k by consumers: every split of a tile leaves its sums in the workspace as they lie in
// registers, four of a thread together; the last split to arrive takes all of them from there.

namespace moe {

// Four floats of this thread, `place` of them further from the start of a consumer's sums.
MOE_DEVICE float* four_at(float* sums, int place) {
    return sums + group_thread() * 4 + place * (kGroupThreads * 4);
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
            float* const to = four_at(target, Sums::place(tall, eight));
            global_store(reinterpret_cast<Words*>(to), four);
        }
    }
}

// What `Own` sums have become over all kSplits splits of a tile, `stride` floats apart from `source`
// on. They are added in the order of the splits, and only as they leave, part by part. With kAhead
// the next part is on its way in registers while one leaves.
template <int kSplits, bool kAhead, class Own>
struct JoinedSums : Own::Parts {
    using Parts = typename Own::Parts;
    float* source;
    i64 stride;
    Floats next[kAhead ? 4 : 1][kAhead ? kSplits : 1];

    MOE_DEVICE JoinedSums(float* the_source, i64 the_stride)
        : source(the_source), stride(the_stride) {
        if constexpr (kAhead) fetch(0);
    }

    MOE_DEVICE Floats load(int place, int split) const {
        return global_load_fresh(four_at(source, place) + split * stride);
    }

    MOE_DEVICE void fetch(int part) {
        MOE_UNROLL
        for (int j = 0; j < 4; ++j) {
            if (j >= Parts::eights(part)) continue;
            MOE_UNROLL
            for (int split = 0; split < kSplits; ++split) {
                next[j][split] = load(Parts::first_place(part) + j, split);
            }
        }
    }

    // Parts are taken in their order.
    MOE_DEVICE void take(float (&taken)[4][4], int part) {
        if constexpr (kAhead) {
            MOE_UNROLL
            for (int split = 0; split < kSplits; ++split) {
                MOE_UNROLL
                for (int j = 0; j < 4; ++j) {
                    if (j < Parts::eights(part)) join(taken[j], next[j][split], split == 0);
                }
            }
            if (part + 1 < Parts::kParts) fetch(part + 1);
        } else {
            constexpr int kTogether = 4;  // on their way; with more, registers spill
            MOE_ROLL
            for (int first = 0; first < kSplits; first += kTogether) {
                MOE_UNROLL
                for (int split = first; split < first + kTogether; ++split) {
                    MOE_UNROLL
                    for (int j = 0; j < 4; ++j) {
                        if (split >= kSplits || j >= Parts::eights(part)) continue;
                        join(taken[j], load(Parts::first_place(part) + j, split), split == 0);
                    }
                }
            }
        }
    }

    static MOE_DEVICE void join(float (&total)[4], const Floats& more, bool first) {
        MOE_UNROLL
        for (int i = 0; i < 4; ++i) total[i] = first ? more.value[i] : add(total[i], more.value[i]);
    }
};

// As arrive_last, for the threads of one consumer.
MOE_DEVICE bool arrive_last_group(int* semaphore, int splits, u32 scratch, int named) {
    named_sync(named, kGroupThreads);
    if (group_thread() == 0) {
        fence_device();
        const bool last = atomic_add(semaphore, 1) == splits - 1;
        fence_device();
        if (last) global_store(semaphore, 0);
        shared_store(scratch, static_cast<int>(last));
    }
    named_sync(named, kGroupThreads);
    return shared_load<int>(scratch) != 0;
}

}  // namespace moe
