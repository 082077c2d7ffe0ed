// Bulk copies of consecutive bytes by the copy engine. Sizes and both addresses are multiples of
// 16. Loads end with their bytes at an mbarrier, stores in the issuing thread's groups.

namespace moe {

MOE_DEVICE void bulk_load(u32 offset, const void* source, u32 bytes, u32 barrier) {
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];"
        :
        : "r"(shared_address(offset)), "l"(source), "r"(bytes), "r"(shared_address(barrier))
        : "memory");
}

MOE_DEVICE void bulk_store(void* target, u32 offset, u32 bytes) {
    asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;"
                 :
                 : "l"(target), "r"(shared_address(offset)), "r"(bytes)
                 : "memory");
}

// Closes the calling thread's current group of stores.
MOE_DEVICE void bulk_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }

// Waits until at most `kPending` of the calling thread's youngest groups are unfinished.
template <int kPending>
MOE_DEVICE void bulk_wait() {
    asm volatile("cp.async.bulk.wait_group %0;" ::"n"(kPending) : "memory");
}

// The same, but only for shared memory to have been read: it may be written again.
template <int kPending>
MOE_DEVICE void bulk_wait_read() {
    asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(kPending) : "memory");
}

}  // namespace moe
