// Flags in global memory: words by which CTAs tell each other how far they are.

namespace moe {

// What was written before the flag's value was released is visible afterwards.
MOE_DEVICE int flag_load_acquire(const int* flag) {
    int value;
    asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(value) : "l"(flag) : "memory");
    return value;
}

MOE_DEVICE void flag_store_release(int* flag, int value) {
    asm volatile("st.release.gpu.global.s32 [%0], %1;" : : "l"(flag), "r"(value) : "memory");
}

MOE_DEVICE void flag_add_release(int* flag, int value) {
    asm volatile("red.release.gpu.global.add.s32 [%0], %1;" : : "l"(flag), "r"(value) : "memory");
}

// The flag's value before the addition.
MOE_DEVICE int flag_add(int* flag, int value) {
    int before;
    asm volatile("atom.acq_rel.gpu.global.add.s32 %0, [%1], %2;"
                 : "=r"(before)
                 : "l"(flag), "r"(value)
                 : "memory");
    return before;
}

// Blocks until the flag has this value, then acquires.
MOE_DEVICE void flag_wait(const int* flag, int value) {
    MOE_WAIT_UNTIL(flag_load_acquire(flag) == value)
}

}  // namespace moe
