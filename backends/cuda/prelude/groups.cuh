// Consumers: warpgroups that multiply with wgmma. An operand's stage is cut into blocks of 128
// bytes of depth; the tall side has 64 positions a product, the flat one up to 256.

namespace moe {

constexpr int kGroupThreads = 128;

MOE_DEVICE int group_index() { return thread_index() / kGroupThreads; }
MOE_DEVICE int group_thread() { return thread_index() % kGroupThreads; }

// A block in shared memory: 128-byte lines, swizzled. By depth a line is a position; by outer it is
// kWidth positions at one step of depth, and these at all steps lie together, in a panel.
template <class T, int kPositions, int kMajorOfBlock>
struct Block {
    static constexpr int kMajor = kMajorOfBlock;
    static constexpr int kDepth = 128 / static_cast<int>(sizeof(T));
    static constexpr int kWidth = 128 / static_cast<int>(sizeof(T));
    static constexpr u32 kPanel = kDepth * 128;
    static constexpr u32 kBytes = kMajor == by_depth ? kPositions * 128
                                                     : (kPositions + kWidth - 1) / kWidth * kPanel;
    // Bytes from one product's depth to the next.
    static constexpr u32 kStep = kMajor == by_depth ? 32 : 32 / sizeof(T) * 128;

    // Positions from `first` on: a multiple of 8 by depth, of kWidth by outer.
    static MOE_DEVICE u64 describe(u32 block, int first) {
        if constexpr (kMajor == by_depth) {
            return describe_matrix<swizzle_128>(block + first * 128, 16, 1024);
        } else {
            return describe_matrix<swizzle_128>(block + first / kWidth * kPanel, kPanel, 1024);
        }
    }
    // To the positions 64 further.
    static constexpr u32 kNext = kMajor == by_depth ? 64 * 128 : 64 / kWidth * kPanel;
    // And the flat positions `count` further.
    static MOE_DEVICE constexpr u32 further(int count) {
        return kMajor == by_depth ? count * 128 : count / kWidth * kPanel;
    }
};

// The parts in which kTall x 64 positions of the tall side by kFlat of the flat one leave a consumer.
// Rows are the tall side, or the flat one with `kSwap`.
//
// A part is 64 tall by 32 flat positions: in registers four of a thread for every eight flat ones, in
// shared memory f32[rows][kPitch]. The pitch spreads what the lanes of a warp write over the banks:
// with `kSwap` 4 rows by 8 columns, else 8 rows by 4 pairs of columns, half of them at a time.
template <int kTallCount, int kFlatCount, bool kSwap>
struct GroupParts {
    static constexpr int kTall = kTallCount;
    static constexpr int kFlat = kFlatCount;
    static constexpr int kFlatParts = (kFlat + 31) / 32;
    static constexpr int kParts = kTall * kFlatParts;
    static constexpr int kRows = kSwap ? kFlat : kTall * 64;
    static constexpr int kPartRows = kSwap ? 32 : 64;
    static constexpr int kPartColumns = kSwap ? 64 : 32;
    static constexpr int kPitch = kSwap ? 68 : 40;

    // Of four sums of a thread, the place among all of them.
    static MOE_DEVICE int place(int tall, int eight) { return tall * (kFlat / 8) + eight; }
    // And that of the first ones of a part.
    static MOE_DEVICE int first_place(int part) {
        return place(part / kFlatParts, part % kFlatParts * 4);
    }

    // Eight flat positions of a part that are there, up to 4.
    static MOE_DEVICE int eights(int part) { return lesser(4, kFlat / 8 - part % kFlatParts * 4); }

    // First row and column of a part, counted from this consumer's first.
    static MOE_DEVICE int part_row(int part) {
        return kSwap ? part % kFlatParts * 32 : part / kFlatParts * 64;
    }
    static MOE_DEVICE int part_column(int part) {
        return kSwap ? part / kFlatParts * 64 : part % kFlatParts * 32;
    }

    // Whether this row or column, counted likewise, is another consumer's: the last part of a line
    // may be higher or wider than what is left.
    static MOE_DEVICE bool beyond(int row, int column) {
        return kFlat % 32 != 0 && (kSwap ? row : column) >= kFlat;
    }

    // Writes what a thread has of one part to shared memory.
    static MOE_DEVICE void stage(u32 target, int part, const float (&taken)[4][4]) {
        const int tall = group_thread() / 32 * 16 + lane_index() / 4;
        const int flat = lane_index() % 4 * 2;
        MOE_UNROLL
        for (int j = 0; j < 4; ++j) {
            if (j >= eights(part)) continue;
            MOE_UNROLL
            for (int i = 0; i < 2; ++i) {
                if constexpr (kSwap) {
                    const u32 at = target + ((j * 8 + flat) * kPitch + tall + i * 8) * 4;
                    shared_store(at, taken[j][i * 2]);
                    shared_store(at + kPitch * 4, taken[j][i * 2 + 1]);
                } else {
                    const u32 at = target + ((tall + i * 8) * kPitch + j * 8 + flat) * 4;
                    shared_store(at, FloatPair{taken[j][i * 2], taken[j][i * 2 + 1]});
                }
            }
        }
    }
};

// The sums of these parts, in the registers of a consumer.
template <int kTallCount, int kFlatCount, bool kSwap>
struct GroupSums : GroupParts<kTallCount, kFlatCount, kSwap> {
    using Parts = GroupParts<kTallCount, kFlatCount, kSwap>;
    using Parts::kFlat;
    using Parts::kFlatParts;
    using Parts::kParts;
    using Parts::kTall;
    // More flat positions than one product has are cut into two halves.
    static constexpr int kHalves = kFlat > 256 ? 2 : 1;
    static constexpr int kProductFlat = kFlat / kHalves;

    float sum[kTall * kHalves][kProductFlat / 2];

    MOE_DEVICE void clear() {
        MOE_UNROLL
        for (int i = 0; i < kTall * kHalves; ++i) {
            MOE_UNROLL
            for (int j = 0; j < kProductFlat / 2; ++j) sum[i][j] = 0.0f;
        }
    }

    // Of the four sums of `tall` and of flat positions 8 * `eight` on, number `i`.
    MOE_DEVICE float at(int tall, int eight, int i) const {
        constexpr int kEights = kProductFlat / 8;
        return sum[tall * kHalves + eight / kEights][eight % kEights * 4 + i];
    }

    // The sums of this thread in one part, from kFirst up to kLast: four for every eight flat
    // positions that are there. Registers cannot be indexed, so that which part it is must be known
    // when compiling; halving takes fewer jumps than asking for one after the other.
    template <int kFirst = 0, int kLast = kParts>
    MOE_DEVICE void take(float (&taken)[4][4], int part) const {
        constexpr int kMiddle = (kFirst + kLast) / 2;
        if constexpr (kLast - kFirst > 1) {
            if (part < kMiddle) {
                take<kFirst, kMiddle>(taken, part);
            } else {
                take<kMiddle, kLast>(taken, part);
            }
        } else {
            constexpr int kEight = kFirst % kFlatParts * 4;
            MOE_UNROLL
            for (int j = 0; j < 4; ++j) {
                if (j >= Parts::eights(kFirst)) continue;
                MOE_UNROLL
                for (int i = 0; i < 4; ++i) {
                    taken[j][i] = at(kFirst / kFlatParts, kEight + j, i);
                }
            }
        }
    }

    // One step of depth: 32 bytes of each operand. The first one writes its sums; whether it is the
    // first must be known when compiling.
    template <class TallBlock, class FlatBlock, class Kind>
    MOE_DEVICE void multiply(u64 tall, u64 flat, Kind kind, bool first = false) {
        MOE_UNROLL
        for (int i = 0; i < kTall; ++i) multiply_tall<TallBlock, FlatBlock>(i, tall, flat, kind, first);
    }

    // The same for the `number`-th 64 tall positions alone.
    template <class TallBlock, class FlatBlock, class Kind>
    MOE_DEVICE void multiply_tall(int number, u64 tall, u64 flat, Kind kind, bool first = false) {
        const u64 own_tall = advanced(tall, number * TallBlock::kNext);
        MOE_UNROLL
        for (int half = 0; half < kHalves; ++half) {
            float (&own)[kProductFlat / 2] = sum[number * kHalves + half];
            const u64 own_flat = advanced(flat, FlatBlock::further(half * kProductFlat));
            if (first) {
                group_multiply(own, own_tall, own_flat, kind);
            } else {
                group_multiply_add(own, own_tall, own_flat, kind);
            }
        }
    }

    // The same, the tall operand in registers.
    template <class FlatBlock, class Kind>
    MOE_DEVICE void multiply(const u32 (&tall)[kTall][4], u64 flat, Kind kind) {
        MOE_UNROLL
        for (int i = 0; i < kTall * kHalves; ++i) {
            group_multiply_add(sum[i], tall[i / kHalves],
                               advanced(flat, FlatBlock::further(i % kHalves * kProductFlat)), kind);
        }
    }

    // After the last product: the sums may be used.
    MOE_DEVICE void finish() {
        MOE_UNROLL
        for (int i = 0; i < kTall * kHalves; ++i) group_wait<0>(sum[i]);
    }

    // After the last product of the `kNumber`-th 64 tall positions: their sums may be used. The products
    // of those behind, a group for each, may go on.
    template <int kNumber>
    MOE_DEVICE void finish_tall() {
        MOE_UNROLL
        for (int half = 0; half < kHalves; ++half) {
            group_wait<kTall - 1 - kNumber>(sum[kNumber * kHalves + half]);
        }
    }
};

}  // namespace moe
