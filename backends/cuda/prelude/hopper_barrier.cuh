// Barriers between roles: mbarriers (8 bytes of shared memory that count arrivals and bytes),
// numbered barriers, and the fences between ordinary accesses and asynchronous units.

namespace moe {

using u64 = unsigned long long;

// Phase 0 begins: it ends with `arrivals` arrivals and all expected bytes.
MOE_DEVICE void barrier_init(u32 barrier, u32 arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;"
                 :
                 : "r"(shared_address(barrier)), "r"(arrivals)
                 : "memory");
}

// Makes initialised barriers known to the cluster and to the copy engine; a barrier of the CTA or
// the cluster has to follow.
MOE_DEVICE void fence_barrier_init() {
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

MOE_DEVICE void barrier_arrive(u32 barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];"
                 :
                 : "r"(shared_address(barrier))
                 : "memory");
}

// The current phase also waits for `bytes` more of asynchronous copies.
MOE_DEVICE void barrier_expect(u32 barrier, u32 bytes) {
    asm volatile("mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], %1;"
                 :
                 : "r"(shared_address(barrier)), "r"(bytes)
                 : "memory");
}

// Both in one.
MOE_DEVICE void barrier_arrive_expect(u32 barrier, u32 bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;"
                 :
                 : "r"(shared_address(barrier)), "r"(bytes)
                 : "memory");
}

// Arrives once all copy_async of this thread so far have landed, which this does not wait for. What
// they wrote, whoever waits for the barrier may read, and multiply after fence_async.
MOE_DEVICE void barrier_arrive_copies(u32 barrier) {
    asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];"
                 :
                 : "r"(shared_address(barrier))
                 : "memory");
}

MOE_DEVICE bool barrier_try_wait(u32 barrier, u32 parity) {
    u32 done;
    asm volatile(
        "{\n"
        ".reg .pred done;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 done, [%1], %2;\n"
        "selp.u32 %0, 1, 0, done;\n"
        "}"
        : "=r"(done)
        : "r"(shared_address(barrier)), "r"(parity)
        : "memory");
    return done != 0;
}

MOE_DEVICE bool barrier_try_wait_cluster(u32 barrier, u32 parity) {
    u32 done;
    asm volatile(
        "{\n"
        ".reg .pred done;\n"
        "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 done, [%1], %2;\n"
        "selp.u32 %0, 1, 0, done;\n"
        "}"
        : "=r"(done)
        : "r"(shared_address(barrier)), "r"(parity)
        : "memory");
    return done != 0;
}

// A unit compiled with MOE_WAIT_LIMIT stops instead of hanging.
#ifdef MOE_WAIT_LIMIT
#define MOE_WAIT_UNTIL(done)                     \
    for (u32 tries = 0; !(done);) {              \
        if (++tries == MOE_WAIT_LIMIT) __trap(); \
    }
#else
#define MOE_WAIT_UNTIL(done) \
    while (!(done)) {        \
    }
#endif

// Blocks until the phase of this parity (0 for the first, 1 for the second, 0 again) has ended.
// Of the phase before the first, parity 1, this is true at once.
MOE_DEVICE void barrier_wait(u32 barrier, u32 parity) {
    MOE_WAIT_UNTIL(barrier_try_wait(barrier, parity))
}

// The same, and what other CTAs of the cluster released there is visible.
MOE_DEVICE void barrier_wait_cluster(u32 barrier, u32 parity) {
    MOE_WAIT_UNTIL(barrier_try_wait_cluster(barrier, parity))
}

// What this thread wrote to shared memory (or has seen written) comes before what the copy engine
// and the tensor cores do there on behalf of threads synchronised with later.
MOE_DEVICE void fence_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// The same for global memory.
MOE_DEVICE void fence_async_global() { asm volatile("fence.proxy.async.global;" ::: "memory"); }

// Barrier 1 to 15 of the CTA, for a multiple of 32 threads; barrier 0 is that of sync_cta.
MOE_DEVICE void named_sync(int barrier, int threads) {
    asm volatile("barrier.cta.sync.aligned %0, %1;" : : "r"(barrier), "r"(threads) : "memory");
}

// Counts as one of the barrier's threads without waiting for the others.
MOE_DEVICE void named_arrive(int barrier, int threads) {
    asm volatile("barrier.cta.arrive.aligned %0, %1;" : : "r"(barrier), "r"(threads) : "memory");
}

}  // namespace moe
