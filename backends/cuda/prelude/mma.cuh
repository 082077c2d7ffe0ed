// Warp-level matrix multiplication: ldmatrix and mma.sync.

namespace moe {

// Four 8 x 16-byte matrices; lane l holds the address of row l % 8 of matrix l / 8.
MOE_DEVICE void load_matrices(u32 (&result)[4], u32 offset) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(result[0]), "=r"(result[1]), "=r"(result[2]), "=r"(result[3])
                 : "r"(shared_address(offset)));
}

// The same, each matrix transposed as 8 x 8 elements of 2 bytes.
MOE_DEVICE void load_matrices_transposed(u32 (&result)[4], u32 offset) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(result[0]), "=r"(result[1]), "=r"(result[2]), "=r"(result[3])
                 : "r"(shared_address(offset)));
}

// Two matrices, addressed by lanes 0 to 15.
MOE_DEVICE void load_matrices(u32 (&result)[2], u32 offset) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
                 : "=r"(result[0]), "=r"(result[1])
                 : "r"(shared_address(offset)));
}

MOE_DEVICE void load_matrices_transposed(u32 (&result)[2], u32 offset) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(result[0]), "=r"(result[1])
                 : "r"(shared_address(offset)));
}

// sum += left * right: m16n8k16 for 2-byte elements, m16n8k8 for tf32.
MOE_DEVICE void multiply_add(float (&sum)[4], const u32 (&left)[4], const u32 (&right)[2], bf16) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right[0]), "r"(right[1]));
}

MOE_DEVICE void multiply_add(float (&sum)[4], const u32 (&left)[4], const u32 (&right)[2], f16) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right[0]), "r"(right[1]));
}

MOE_DEVICE void multiply_add(float (&sum)[4], const u32 (&left)[4], const u32 (&right)[2], tf32) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
        : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right[0]), "r"(right[1]));
}

// The f32 with these bits, rounded to tf32: to nearest, ties away from zero.
MOE_DEVICE u32 round_tf32(u32 bits) {
    u32 result;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(result) : "r"(bits));
    return result;
}

}  // namespace moe
