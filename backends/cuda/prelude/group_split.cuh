// split_k by consumers: every part of a tile leaves its sums in the workspace as they lie in
// registers, four of a thread together; the last part to arrive adds all of them in their order.

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

// The sums of all parts, `part_stride` floats apart.
template <int kParts, class Sums>
MOE_DEVICE void add_parts(Sums& sums, float* source, i64 part_stride) {
    MOE_UNROLL
    for (int tall = 0; tall < Sums::kTall; ++tall) {
        MOE_UNROLL
        for (int eight = 0; eight < Sums::kFlat / 8; ++eight) {
            float* const from = four_at(source, tall * (Sums::kFlat / 8) + eight);
            Floats total = global_load_fresh(from);
            MOE_UNROLL
            for (int part = 1; part < kParts; ++part) {
                const Floats more = global_load_fresh(from + part * part_stride);
                MOE_UNROLL
                for (int i = 0; i < 4; ++i) total.value[i] = add(total.value[i], more.value[i]);
            }
            MOE_UNROLL
            for (int i = 0; i < 4; ++i) sums.put(tall, eight, i, computed(total.value[i]));
        }
    }
}

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
