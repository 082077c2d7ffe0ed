// Outputs of a consumer on their way to the copy engine, one part of 2048 elements at a time, as it
// takes them: in boxes whose lines are swizzled as far as they are wide.

namespace moe {

// With swap_ab 32 rows of 128 bytes; of 4-byte elements twice 32 rows of 32 columns.
//
// Eight rows, from row 8 * `j` on: this thread has rows 2 * (lane % 4) + i % 2 and columns
// lane / 4 + i / 2 * 8 of the 16 that belong to its warp.
template <class T>
MOE_DEVICE void stage_rows(u32 staged, int j, const float (&value)[4], T) {
    const u32 word[2] = {pair<T>(value[0], value[1]), pair<T>(value[2], value[3])};
    const int row = lane_index() % 8;
    const int chunk = warp_index() % 4 * 2 + lane_index() / 8 % 2;
    store_matrices_transposed(staged + (j * 8 + row) * 128 + (chunk ^ row) * 16, word);
}

// The four elements' places differ in bits of their addresses, of the row and of the swizzled column:
// `staged` is a multiple of 1024.
MOE_DEVICE void stage_rows(u32 staged, int j, const float (&value)[4], float) {
    const int row = lane_index() % 4 * 2;
    const int column = warp_index() % 2 * 16 + lane_index() / 4;
    const u32 panel = staged + warp_index() % 4 / 2 * 4096;
    const u32 chunk = panel + (j * 8 + row) * 128 + (column / 4 ^ row) * 16;
    const u32 first = chunk + column % 4 * 4;
    MOE_UNROLL
    for (int i = 0; i < 4; ++i) shared_store(first ^ (i % 2 * (128 | 16) | i / 2 * 32), value[i]);
}

// Where byte `byte` of a row lies in boxes of 64 rows of kLine bytes, one after the other.
template <int kLine>
MOE_DEVICE u32 place_in_boxes(int row, int byte) {
    const int swizzle = row * kLine / 128 % (kLine / 16) * 16;
    return byte / kLine * 64 * kLine + row * kLine + (byte % kLine ^ swizzle);
}

// Without swap_ab 64 rows of 32 columns, in boxes of kColumns.
//
// Eight columns, from column 8 * `j` on: this thread has columns 2 * (lane % 4) + i % 2 and rows
// lane / 4 + i / 2 * 8 of the 16 that belong to its warp.
template <int kColumns, class T>
MOE_DEVICE void stage_columns(u32 staged, int j, const float (&value)[4], T) {
    const u32 word[2] = {pair<T>(value[0], value[1]), pair<T>(value[2], value[3])};
    const int row = warp_index() % 4 * 16 + lane_index() % 16;
    store_matrices(staged + place_in_boxes<kColumns * 2>(row, j * 16), word);
}

template <int kColumns>
MOE_DEVICE void stage_columns(u32 staged, int j, const float (&value)[4], float) {
    MOE_UNROLL
    for (int i = 0; i < 2; ++i) {
        const int row = warp_index() % 4 * 16 + lane_index() / 4 + i * 8;
        const u32 at = place_in_boxes<kColumns * 4>(row, j * 32 + lane_index() % 4 * 8);
        shared_store(staged + at, FloatPair{value[i * 2], value[i * 2 + 1]});
    }
}

}  // namespace moe
