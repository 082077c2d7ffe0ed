// Outputs of a consumer on their way to the copy engine: 32 rows of 128 bytes, swizzled; of 4-byte
// elements twice 32 rows of 32 columns.

namespace moe {

// Eight rows, from row 8 * `j` on: this thread has rows 2 * (lane % 4) + i % 2 and columns
// lane / 4 + i / 2 * 8 of the 16 that belong to its warp.
template <class T>
MOE_DEVICE void stage_rows(u32 staged, int j, const float (&value)[4], T) {
    const u32 word[2] = {pair<T>(value[0], value[1]), pair<T>(value[2], value[3])};
    const int row = lane_index() % 8;
    const int chunk = warp_index() % 4 * 2 + lane_index() / 8 % 2;
    store_matrices_transposed(staged + (j * 8 + row) * 128 + (chunk ^ row) * 16, word);
}

MOE_DEVICE void stage_rows(u32 staged, int j, const float (&value)[4], float) {
    MOE_UNROLL
    for (int i = 0; i < 4; ++i) {
        const int row = lane_index() % 4 * 2 + i % 2;
        const int column = warp_index() % 2 * 16 + lane_index() / 4 + i / 2 * 8;
        const u32 panel = staged + warp_index() % 4 / 2 * 4096;
        const int chunk = column / 4 ^ row;
        shared_store(panel + (j * 8 + row) * 128 + chunk * 16 + column % 4 * 4, value[i]);
    }
}

}  // namespace moe
