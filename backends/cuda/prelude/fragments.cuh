// Tall operands that products take from registers: tf32 that lies by outer, which the tensor cores
// do not read from shared memory, and rows that threads have copied, which nobody has rounded.

namespace moe {

// kTall x 64 positions of the tall side at one step of depth, 32 bytes: what a thread brings to its
// products. As the instruction has it, each warp has 16 of 64 positions, and a thread of it the
// words of two of them at two depths, all four apart by 8 positions and by 4 in depth.
template <class Block, int kTall, bool kRounds>
struct Fragments {
    static_assert(Block::kDepth == 32, "words are elements");

    u32 word[kTall][4];

    // Where this thread begins to read an operand whose first block lies at `block`, positions from
    // `first` on. All steps and positions are some bits, or a constant, away.
    static MOE_DEVICE u32 place(u32 block, int first) {
        const int lane = lane_index(), own = group_thread() / 32 * 16;
        if constexpr (Block::kMajor == by_depth) {
            const int row = first + own + lane % 16;
            return block + row * 128 + (lane / 16 ^ row % 8) * 16;
        } else {
            const int at = first + own + lane / 4, depth = early(lane);
            const int chunk = at % 32 / 4 ^ depth;
            return block + at / 32 * Block::kPanel + depth * 128 + chunk * 16 + at % 4 * 4;
        }
    }

    // Step number `step` of all blocks, four of each.
    MOE_DEVICE void load(u32 place, int step) {
        const u32 block = step / 4 * Block::kBytes;
        MOE_UNROLL
        for (int i = 0; i < kTall; ++i) {
            if constexpr (Block::kMajor == by_depth) {
                load_matrices(word[i], (place ^ step % 4 * 32) + block + i * Block::kNext);
            } else {
                load_words(word[i], place, block + i * Block::kNext + step % 4 * Block::kStep);
            }
            if constexpr (kRounds) {
                MOE_UNROLL
                for (int j = 0; j < 4; ++j) word[i][j] = round_tf32(word[i][j]);
            }
            keep_left(word[i]);
        }
    }

private:
    // Of the two depths of a lane, the one it reads first. Were it the lower one in all lanes, those
    // of neighbouring depths would meet in a bank.
    static MOE_DEVICE int early(int lane) { return lane % 4 + lane % 2 * 4; }

    // 8 positions further lie 2 chunks away, 4 depths further 4 lines, and 4 chunks by the swizzle.
    static MOE_DEVICE void load_words(u32 (&left)[4], u32 place, u32 further) {
        const u32 first[2] = {shared_load<u32>(place + further),
                              shared_load<u32>((place ^ 32) + further)};
        const u32 second[2] = {shared_load<u32>((place ^ 576) + further),
                               shared_load<u32>((place ^ 608) + further)};
        const bool odd = lane_index() % 2 != 0;
        MOE_UNROLL
        for (int i = 0; i < 2; ++i) {
            left[i] = odd ? second[i] : first[i];
            left[2 + i] = odd ? first[i] : second[i];
        }
    }
};

}  // namespace moe
