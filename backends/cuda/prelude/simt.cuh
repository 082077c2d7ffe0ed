// One warp's part of an output tile in f32 arithmetic, 4 x 8 lanes, four steps of depth at a time.
// A lane's rows are 4 apart and its columns 8 apart, so that reads spread over the banks.

namespace moe {

template <class Tile, int kExtent, int kLanes>
struct LaneFragments {
    using Element = typename Tile::Element;
    float value[kExtent / kLanes][4];

    // Positions `first` + kLanes * i of this lane, depth 4 * `step` to 4 * `step` + 3.
    MOE_DEVICE void load(u32 tile, int first, int step) {
        const int mine = first + (kLanes == 4 ? lane_index() >> 3 : lane_index() & 7);
        MOE_UNROLL
        for (int i = 0; i < kExtent / kLanes; ++i) {
            const int position = mine + i * kLanes;
            if constexpr (Tile::kDepthInner) {
                const Floats four = shared_load<Floats>(tile + Tile::place(position, step));
                MOE_UNROLL
                for (int k = 0; k < 4; ++k) value[i][k] = four.value[k];
            } else {
                MOE_UNROLL
                for (int k = 0; k < 4; ++k) {
                    const int chunk = Tile::place(step * 4 + k, position / 4);
                    value[i][k] = shared_load<float>(tile + chunk + position % 4 * 4);
                }
            }
        }
    }
};

template <int kRowCount, int kColumnCount>
struct LaneSums {
    static constexpr int kRows = kRowCount;
    static constexpr int kColumns = kColumnCount;
    static constexpr int kPitch = (kColumns + 23) / 32 * 32 + 8;

    float sum[kRows / 4][kColumns / 8];

    MOE_DEVICE void clear() {
        MOE_UNROLL
        for (int i = 0; i < kRows / 4; ++i) {
            MOE_UNROLL
            for (int j = 0; j < kColumns / 8; ++j) sum[i][j] = 0.0f;
        }
    }

    template <class RowFragments, class ColumnFragments>
    MOE_DEVICE void multiply(const RowFragments& rows, const ColumnFragments& columns) {
        MOE_UNROLL
        for (int k = 0; k < 4; ++k) {
            MOE_UNROLL
            for (int i = 0; i < kRows / 4; ++i) {
                MOE_UNROLL
                for (int j = 0; j < kColumns / 8; ++j) {
                    sum[i][j] = multiply_add(rows.value[i][k], columns.value[j][k], sum[i][j]);
                }
            }
        }
    }

    // Writes eight rows, from row 8 * `chunk` on, to shared memory as f32[8][kPitch].
    MOE_DEVICE void stage(u32 target, int chunk) const {
        const int row = lane_index() >> 3;
        const int column = lane_index() & 7;
        MOE_UNROLL
        for (int here = 0; here < kRows / 8; ++here) {
            if (here != chunk) continue;
            MOE_UNROLL
            for (int i = 0; i < 2; ++i) {
                MOE_UNROLL
                for (int j = 0; j < kColumns / 8; ++j) {
                    shared_store(target + ((row + i * 4) * kPitch + column + j * 8) * 4,
                                 sum[here * 2 + i][j]);
                }
            }
        }
    }
};

}  // namespace moe
