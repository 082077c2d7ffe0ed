// Matrix products of a warpgroup (four warps, the first a multiple of four): 64 rows times n
// columns, asynchronous. The instructions themselves are generated for the shapes a unit uses.

namespace moe {

// How a matrix lies in shared memory: by depth (k neighbours are next to each other) or by rows
// and columns; the numbers are the instruction's.
constexpr int by_depth = 0, by_outer = 1;

// What a multiplication is of; its argument of this type selects the instruction.
template <class T, int kLeft = by_depth, int kRight = by_depth>
struct Product {};

// The rows of 8 x 16-byte matrices lie 16, 32, 64 or 128 bytes apart, their 16-byte chunks
// exclusive-ored with the row number; the numbers are the descriptor's.
enum Swizzle { swizzle_none = 0, swizzle_128 = 1, swizzle_64 = 2, swizzle_32 = 3 };

// Describes a matrix to the tensor cores. `leading` and `stride` are the bytes between its
// neighbouring parts. By depth: `stride` from 8 rows to the next 8; `leading` from 8 x 16 bytes to
// the next in depth, without swizzle only. By outer: `stride` from 8 in depth to the next 8,
// `leading` from one swizzle's width to the next; without swizzle the other way around.
// The offset is a multiple of 8 rows' bytes, plus a multiple of 16 within a row.
template <Swizzle kSwizzle>
MOE_DEVICE u64 describe_matrix(u32 offset, u32 leading, u32 stride) {
    const u32 low = (shared_address(offset) & 0x3ffffu) >> 4 | leading >> 4 << 16;
    const u32 high = stride >> 4 | static_cast<u32>(kSwizzle) << 30;
    return static_cast<u64>(high) << 32 | low;
}

// The matrix `bytes` further.
MOE_DEVICE u64 advanced(u64 matrix, u32 bytes) { return matrix + (bytes >> 4); }

// Before the first multiplication, and wherever a thread has touched registers that the next
// multiplication uses. All threads of the warpgroup call this and the functions below.
MOE_DEVICE void group_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

// What `left` holds has been computed by now, before a fence that comes next. From there on it stays
// as it is until a wait covers the multiplications that read it.
MOE_DEVICE void keep_left(u32 (&left)[4]) {
    MOE_UNROLL
    for (int i = 0; i < 4; ++i) asm volatile("" : "+r"(left[i])::"memory");
}

// Closes the warpgroup's current group of multiplications.
MOE_DEVICE void group_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

// Waits until at most `kPending` of the youngest groups are unfinished: the operands of the others
// may be overwritten.
template <int kPending>
MOE_DEVICE void group_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

// And `sum`, whose groups are among the finished ones, may be used.
template <int kPending, int kCount>
MOE_DEVICE void group_wait(float (&sum)[kCount]) {
    group_wait<kPending>();
    MOE_UNROLL
    for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(sum[i])::"memory");
}

}  // namespace moe
