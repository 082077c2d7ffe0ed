// Clusters: CTAs that run at the same time and reach each other's shared memory. A place in the
// cluster is a 32-bit address; an own shared address is one, too.

namespace moe {

MOE_DEVICE int cluster_rank() {
    u32 rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return static_cast<int>(rank);
}

MOE_DEVICE int cluster_size() {
    u32 size;
    asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(size));
    return static_cast<int>(size);
}

// All threads of all CTAs of the cluster; what they wrote before arriving is visible after waiting.
MOE_DEVICE void cluster_arrive() {
    asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
}

MOE_DEVICE void cluster_wait() {
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

MOE_DEVICE void sync_cluster() {
    cluster_arrive();
    cluster_wait();
}

// Where byte `offset` of the shared memory of the CTA with this rank lies in the cluster.
MOE_DEVICE u32 peer_address(u32 offset, int rank) {
    u32 address;
    asm("mapa.shared::cluster.u32 %0, %1, %2;"
        : "=r"(address)
        : "r"(shared_address(offset)), "r"(rank));
    return address;
}

// Arrives at an mbarrier of any CTA. Enough to hand a buffer back to the copy engine after reading
// from it, or after the copy engine has; cheaper than peer_arrive_release, which also makes this
// thread's writes visible to whoever waits.
MOE_DEVICE void peer_arrive(u32 address) {
    asm volatile("mbarrier.arrive.shared::cluster.b64 _, [%0];" : : "r"(address) : "memory");
}

MOE_DEVICE void peer_arrive_release(u32 address) {
    asm volatile("mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%0];"
                 :
                 : "r"(address)
                 : "memory");
}

MOE_DEVICE void peer_store(u32 address, u32 value) {
    asm volatile("st.shared::cluster.u32 [%0], %1;" : : "r"(address), "r"(value) : "memory");
}

MOE_DEVICE void peer_store(u32 address, Words value) {
    asm volatile("st.shared::cluster.v4.u32 [%0], {%1, %2, %3, %4};"
                 :
                 : "r"(address), "r"(value.word[0]), "r"(value.word[1]), "r"(value.word[2]),
                   "r"(value.word[3])
                 : "memory");
}

MOE_DEVICE u32 peer_load(u32 address) {
    u32 value;
    asm volatile("ld.shared::cluster.u32 %0, [%1];" : "=r"(value) : "r"(address) : "memory");
    return value;
}

}  // namespace moe
