// Threads, memory, barriers: the primitives through which everything else sees the machine.
// Shared memory is one dynamic block; a place in it is a byte offset from its start.

namespace moe {

extern __shared__ __align__(1024) unsigned char shared_block[];

MOE_DEVICE int thread_index() { return static_cast<int>(threadIdx.x); }
MOE_DEVICE int lane_index() { return static_cast<int>(threadIdx.x & 31u); }
MOE_DEVICE int warp_index() { return static_cast<int>(threadIdx.x >> 5); }
MOE_DEVICE int cta_index() { return static_cast<int>(blockIdx.x); }
MOE_DEVICE int cta_count() { return static_cast<int>(gridDim.x); }

MOE_DEVICE void sync_cta() { __syncthreads(); }
MOE_DEVICE void sync_warp() { __syncwarp(); }

// The value of the lane `distance` below; a lane that has none keeps its own.
MOE_DEVICE int shuffle_up(int value, int distance) {
    return __shfl_up_sync(0xffffffffu, value, distance);
}

// The address as it is, but the compiler cannot tell: it keeps it as it is computed.
template <class T>
MOE_DEVICE T* opaque(T* address) {
    asm volatile("" : "+l"(address));
    return address;
}

template <class T>
MOE_DEVICE T shared_load(u32 offset) {
    return *reinterpret_cast<const T*>(shared_block + offset);
}

template <class T>
MOE_DEVICE void shared_store(u32 offset, T value) {
    *reinterpret_cast<T*>(shared_block + offset) = value;
}

template <class T>
MOE_DEVICE T global_load(const T* source) {
    return *source;
}

// Past the first cache level: what another CTA of this launch may have written.
MOE_DEVICE Floats global_load_fresh(const float* source) {
    Floats result;
    asm volatile("ld.global.cg.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(result.value[0]), "=f"(result.value[1]), "=f"(result.value[2]),
                   "=f"(result.value[3])
                 : "l"(source)
                 : "memory");
    return result;
}

template <class T>
MOE_DEVICE void global_store(T* target, T value) {
    *target = value;
}

MOE_DEVICE int atomic_add(int* target, int value) { return atomicAdd(target, value); }

// Adds without reading back; the order of several additions is not defined. Not atomicAdd: where the
// compiler cannot tell that an address is global, that finds out each time.
MOE_DEVICE void atomic_add(float* target, float value) {
    asm volatile("red.global.add.f32 [%0], %1;" : : "l"(target), "f"(value) : "memory");
}

// Four neighbours, `target` 16-byte aligned, each added by itself.
MOE_DEVICE void atomic_add(float* target, Floats value) {
#if __CUDA_ARCH__ >= 900
    asm volatile("red.global.add.v4.f32 [%0], {%1, %2, %3, %4};"
                 :
                 : "l"(target), "f"(value.value[0]), "f"(value.value[1]), "f"(value.value[2]),
                   "f"(value.value[3])
                 : "memory");
#else
    for (int i = 0; i < 4; ++i) atomic_add(target + i, value.value[i]);
#endif
}

// Orders this thread's earlier global accesses before its later ones, for all CTAs.
MOE_DEVICE void fence_device() { __threadfence(); }

}  // namespace moe
