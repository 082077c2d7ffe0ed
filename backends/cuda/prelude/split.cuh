// split_k: every part of a tile leaves its sums in the workspace; the last part to arrive adds
// all of them in the order of the parts, so the result does not depend on who was last.

namespace moe {

// kCount consecutive partial sums, added up over parts `part_stride` floats apart.
template <int kCount, int kParts>
MOE_DEVICE void sum_parts(float (&result)[kCount], const float* source, i64 part_stride) {
    MOE_UNROLL
    for (int i = 0; i < kCount; i += 4) {
        Floats total = global_load_fresh(source + i);
        MOE_UNROLL
        for (int part = 1; part < kParts; ++part) {
            const Floats more = global_load_fresh(source + part * part_stride + i);
            MOE_UNROLL
            for (int j = 0; j < 4; ++j) total.value[j] = add(total.value[j], more.value[j]);
        }
        MOE_UNROLL
        for (int j = 0; j < 4; ++j) result[i + j] = total.value[j];
    }
}

// True in all threads of the CTA that is the last of `parts` to arrive at `semaphore`, which is
// zero again afterwards. What the others wrote before is then visible. `scratch` is i32 in shared
// memory; all threads call.
//
// In PTX's memory model a relaxed atomic operation releases through a fence before it and acquires
// through a fence behind it, both in program order of the thread that performs it: fences of the
// other threads would order nothing. Thread 0's alone are enough, as causality is transitive: the
// first barrier puts all threads' writes before its first fence, the second one all threads' reads
// behind its second.
MOE_DEVICE bool arrive_last(int* semaphore, int parts, u32 scratch) {
    sync_cta();
    if (thread_index() == 0) {
        fence_device();
        const bool last = atomic_add(semaphore, 1) == parts - 1;
        fence_device();
        if (last) global_store(semaphore, 0);
        shared_store(scratch, static_cast<int>(last));
    }
    sync_cta();
    return shared_load<int>(scratch) != 0;
}

}  // namespace moe
