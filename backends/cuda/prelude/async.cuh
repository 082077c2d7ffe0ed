// Asynchronous copies from global to shared memory, in groups that complete in order.

namespace moe {

MOE_DEVICE u32 shared_address(u32 offset) {
    return static_cast<u32>(__cvta_generic_to_shared(shared_block)) + offset;
}

// 16 bytes to `offset`: the first `bytes` (0 to 16) from `source`, zeros for the rest. Both ends
// are 16-byte aligned; with no bytes `source` is not read.
MOE_DEVICE void copy_async(u32 offset, const void* source, int bytes) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
                 :
                 : "r"(shared_address(offset)), "l"(source), "r"(bytes)
                 : "memory");
}

// All 16 bytes.
MOE_DEVICE void copy_whole_async(u32 offset, const void* source) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;"
                 :
                 : "r"(shared_address(offset)), "l"(source)
                 : "memory");
}

// Closes the calling thread's current group.
MOE_DEVICE void copy_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most `kPending` of the calling thread's youngest groups are under way.
template <int kPending>
MOE_DEVICE void copy_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

}  // namespace moe
