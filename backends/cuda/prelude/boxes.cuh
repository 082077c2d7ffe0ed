// Boxes of ragged tensors that end where an expert's rows do.
//
// The map of such a tensor has, where its rows are, a dimension of 2^30 rows, and behind all others
// two more: one of rows again, and one whose stride takes back what the first two add. A box at
// rows {clipped(row, end), end, kClip} starts at `row`, because addresses are 64 bits long and wrap
// around; its rows from `end` on lie outside the first dimension.

namespace moe {

constexpr int kClip = 1 << 30;

MOE_DEVICE int clipped(int row, int end) { return kClip - end + row; }

}  // namespace moe
