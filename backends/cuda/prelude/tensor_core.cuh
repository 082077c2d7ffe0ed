// One warp's part of an output tile on tensor cores, m16n8 products of 32 bytes of depth.

namespace moe {

// 32-bit words of an operand of 4-byte elements with positions innermost, read one by one.
template <class Tile>
MOE_DEVICE u32 element_word(u32 tile, int position, int depth) {
    const int chunk = Tile::place(depth, position / 4);
    return shared_load<u32>(tile + chunk + position % 4 * 4);
}

template <class T>
MOE_DEVICE u32 entering(u32 word, T) {
    return word;
}

MOE_DEVICE u32 entering(u32 word, tf32) { return round_tf32(word); }

// The side with 16 positions a product: kExtent of them from `first` on, depth step `step`.
template <class Tile, int kExtent>
struct TallFragments {
    using Element = typename Tile::Element;
    u32 word[kExtent / 16][4];

    MOE_DEVICE void load(u32 tile, int first, int step) {
        const int lane = lane_index();
        MOE_UNROLL
        for (int i = 0; i < kExtent / 16; ++i) {
            if constexpr (Tile::kDepthInner) {
                const int origin = Tile::place(first + (lane & 15), lane >> 4);
                load_matrices(word[i], ((tile + origin) ^ (step * 32)) + i * 16 * Tile::kPitch);
            } else if constexpr (sizeof(Element) == 2) {
                const int line = step * 16 + (lane & 7) + (lane >> 4) * 8;
                const int chunk = first / 8 + i * 2 + (lane >> 3 & 1);
                load_matrices_transposed(word[i], tile + Tile::place(line, chunk));
            } else {
                const int position = first + i * 16 + (lane >> 2);
                const int depth = step * 8 + (lane & 3);
                MOE_UNROLL
                for (int j = 0; j < 4; ++j) {
                    word[i][j] =
                        element_word<Tile>(tile, position + j % 2 * 8, depth + j / 2 * 4);
                }
            }
            MOE_UNROLL
            for (int j = 0; j < 4; ++j) word[i][j] = entering(word[i][j], Element{});
        }
    }
};

// The side with 8 positions a product.
template <class Tile, int kExtent>
struct FlatFragments {
    using Element = typename Tile::Element;
    u32 word[kExtent / 8][2];

    MOE_DEVICE void load_pair(u32 tile, int first, int step, int i) {
        const int lane = lane_index();
        u32 pair[4];
        if constexpr (Tile::kDepthInner) {
            const int origin = Tile::place(first + (lane & 7) + (lane >> 4) * 8, lane >> 3 & 1);
            load_matrices(pair, ((tile + origin) ^ (step * 32)) + i * 8 * Tile::kPitch);
        } else {
            const int line = step * 16 + (lane & 15);
            load_matrices_transposed(pair,
                                     tile + Tile::place(line, first / 8 + i + (lane >> 4)));
        }
        word[i][0] = pair[0];
        word[i][1] = pair[1];
        word[i + 1][0] = pair[2];
        word[i + 1][1] = pair[3];
    }

    MOE_DEVICE void load_one(u32 tile, int first, int step, int i) {
        const int lane = lane_index();
        if constexpr (Tile::kDepthInner) {
            const int origin = Tile::place(first + (lane & 7), lane >> 3 & 1);
            load_matrices(word[i], ((tile + origin) ^ (step * 32)) + i * 8 * Tile::kPitch);
        } else {
            const int line = step * 16 + (lane & 15);
            load_matrices_transposed(word[i], tile + Tile::place(line, first / 8 + i));
        }
    }

    MOE_DEVICE void load_elements(u32 tile, int first, int step, int i) {
        const int lane = lane_index();
        const int position = first + i * 8 + (lane >> 2);
        word[i][0] = element_word<Tile>(tile, position, step * 8 + (lane & 3));
        word[i][1] = element_word<Tile>(tile, position, step * 8 + (lane & 3) + 4);
    }

    MOE_DEVICE void load(u32 tile, int first, int step) {
        constexpr int kCount = kExtent / 8;
        if constexpr (!Tile::kDepthInner && sizeof(Element) == 4) {
            MOE_UNROLL
            for (int i = 0; i < kCount; ++i) load_elements(tile, first, step, i);
        } else {
            MOE_UNROLL
            for (int i = 0; i + 1 < kCount; i += 2) load_pair(tile, first, step, i);
            if constexpr (kCount % 2) load_one(tile, first, step, kCount - 1);
        }
        MOE_UNROLL
        for (int i = 0; i < kCount; ++i) {
            word[i][0] = entering(word[i][0], Element{});
            word[i][1] = entering(word[i][1], Element{});
        }
    }
};

// kRows x kColumns sums of one warp. Rows are the tall side, or the flat one with `kSwap`.
template <int kRowCount, int kColumnCount, bool kSwap>
struct TensorSums {
    static constexpr int kRows = kRowCount;
    static constexpr int kColumns = kColumnCount;
    static constexpr int kTall = (kSwap ? kColumns : kRows) / 16;
    static constexpr int kFlat = (kSwap ? kRows : kColumns) / 8;
    // Spreads a warp's staged words over the banks.
    static constexpr int kPitch = kSwap ? (kColumns + 11) / 16 * 16 + 4 : (kColumns + 23) / 32 * 32 + 8;

    float sum[kTall][kFlat][4];

    MOE_DEVICE void clear() {
        MOE_UNROLL
        for (int i = 0; i < kTall; ++i) {
            MOE_UNROLL
            for (int j = 0; j < kFlat; ++j) {
                MOE_UNROLL
                for (int k = 0; k < 4; ++k) sum[i][j][k] = 0.0f;
            }
        }
    }

    template <class Tall, class Flat>
    MOE_DEVICE void multiply_sides(const Tall& tall, const Flat& flat) {
        MOE_UNROLL
        for (int i = 0; i < kTall; ++i) {
            MOE_UNROLL
            for (int j = 0; j < kFlat; ++j) {
                const int at = i % 2 ? kFlat - 1 - j : j;
                multiply_add(sum[i][at], tall.word[i], flat.word[at], typename Tall::Element{});
            }
        }
    }

    template <class RowFragments, class ColumnFragments>
    MOE_DEVICE void multiply(const RowFragments& rows, const ColumnFragments& columns) {
        if constexpr (kSwap) {
            multiply_sides(columns, rows);
        } else {
            multiply_sides(rows, columns);
        }
    }

    // Writes eight rows, from row 8 * `chunk` on, to shared memory as f32[8][kPitch].
    MOE_DEVICE void stage(u32 target, int chunk) const {
        const int group = lane_index() >> 2;
        const int pair = (lane_index() & 3) * 2;
        MOE_UNROLL
        for (int here = 0; here < kRows / 8; ++here) {
            if (here != chunk) continue;
            if constexpr (kSwap) {
                MOE_UNROLL
                for (int i = 0; i < kTall * 4; ++i) {
                    const int row = pair + i % 2;
                    const int column = i / 4 * 16 + group + i / 2 % 2 * 8;
                    shared_store(target + (row * kPitch + column) * 4, sum[i / 4][here][i % 4]);
                }
            } else {
                MOE_UNROLL
                for (int j = 0; j < kFlat; ++j) {
                    const float* both = &sum[here / 2][j][here % 2 * 2];
                    shared_store(target + (group * kPitch + j * 8 + pair) * 4,
                                 FloatPair{both[0], both[1]});
                }
            }
        }
    }
};

}  // namespace moe
