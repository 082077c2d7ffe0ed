// What a warp of Hopper does together, and its share of registers.

namespace moe {

// Says what part the calling thread plays from here on, of several alike `number`. Only the emulator
// listens: its reports name the roles involved.
MOE_DEVICE void role(const char*, int = -1) {}

// The value of lane 0, which all lanes have: the compiler then knows that they do.
MOE_DEVICE int uniform(int value) { return __shfl_sync(0xffffffffu, value, 0); }

// True in one lane of the warp, whose lanes all call. Cheaper than comparing lane numbers: the
// compiler then knows that one thread goes on.
MOE_DEVICE bool elect() {
    u32 chosen;
    asm volatile(
        "{\n"
        ".reg .pred chosen;\n"
        "elect.sync _|chosen, 0xffffffff;\n"
        "selp.u32 %0, 1, 0, chosen;\n"
        "}"
        : "=r"(chosen));
    return chosen != 0;
}

// 8 x 16-byte matrices from registers to shared memory: lane l holds the address of row l % 8 of
// matrix l / 8, and of every matrix the two elements that load_matrices would give it.
MOE_DEVICE void store_matrices(u32 offset, const u32 (&value)[4]) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};"
                 :
                 : "r"(shared_address(offset)), "r"(value[0]), "r"(value[1]), "r"(value[2]),
                   "r"(value[3])
                 : "memory");
}

MOE_DEVICE void store_matrices(u32 offset, const u32 (&value)[2]) {
    asm volatile("stmatrix.sync.aligned.m8n8.x2.shared.b16 [%0], {%1, %2};"
                 :
                 : "r"(shared_address(offset)), "r"(value[0]), "r"(value[1])
                 : "memory");
}

MOE_DEVICE void store_matrices(u32 offset, const u32 (&value)[1]) {
    asm volatile("stmatrix.sync.aligned.m8n8.x1.shared.b16 [%0], {%1};"
                 :
                 : "r"(shared_address(offset)), "r"(value[0])
                 : "memory");
}

// The same, each matrix transposed as 8 x 8 elements of 2 bytes.
MOE_DEVICE void store_matrices_transposed(u32 offset, const u32 (&value)[4]) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};"
                 :
                 : "r"(shared_address(offset)), "r"(value[0]), "r"(value[1]), "r"(value[2]),
                   "r"(value[3])
                 : "memory");
}

MOE_DEVICE void store_matrices_transposed(u32 offset, const u32 (&value)[2]) {
    asm volatile("stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0], {%1, %2};"
                 :
                 : "r"(shared_address(offset)), "r"(value[0]), "r"(value[1])
                 : "memory");
}

MOE_DEVICE void store_matrices_transposed(u32 offset, const u32 (&value)[1]) {
    asm volatile("stmatrix.sync.aligned.m8n8.x1.trans.shared.b16 [%0], {%1};"
                 :
                 : "r"(shared_address(offset)), "r"(value[0])
                 : "memory");
}

// Gives registers back to the CTA's pool, down to `kCount` a thread; all warps of a warpgroup call.
template <int kCount>
MOE_DEVICE void lower_registers() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCount));
}

// Takes registers from the pool, up to `kCount` a thread; blocks until there are enough.
template <int kCount>
MOE_DEVICE void raise_registers() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kCount));
}

}  // namespace moe
