// Rows that a map leads to, brought in by the threads of a producer: 16 bytes at a time, into
// blocks as the copy engine would fill them. An mbarrier counts the copies as they land.

namespace moe {

// What one of kThreads threads, of which thread kFirst is the first, does for tiles of up to kRows
// rows: it always has the same 16 bytes of every kStep-th line, and remembers which rows these are,
// so that a copy takes few instructions.
template <int kFirst, int kThreads, int kRows>
struct Gather {
    static constexpr int kChunks = 8;  // in a line of 128 bytes
    static constexpr int kStep = kThreads / kChunks;
    static constexpr int kLines = (kRows + kStep - 1) / kStep;
    static_assert(kStep % 8 == 0, "a thread's lines differ in the swizzle");

    u32 rows[kLines];

    static MOE_DEVICE int first() { return (thread_index() - kFirst) / kChunks; }
    static MOE_DEVICE int chunk() { return (thread_index() - kFirst) % kChunks; }

    // Of a new tile, of which `count` rows are there. The others are copies of the last one: nobody
    // looks at what they are multiplied to.
    MOE_DEVICE void open(const int* map, i64 map_stride, int count) {
        MOE_UNROLL
        for (int i = 0; i < kLines; ++i) {
            const int line = lesser(first() + i * kStep, count - 1);
            rows[i] = static_cast<u32>(global_load(map + line * map_stride));
        }
    }

    // One block of a tile that is `height` rows high. `source` is element 0 of row 0 at the block's
    // depth, of which `left` elements are there; what is not there is zero. With kWhole all are
    // there or none. `stride` is less than 2^34 bytes, or the tensor would not be read like this.
    template <bool kWhole, class T>
    MOE_DEVICE void copy(u32 block, const T* source, i64 stride, int height, int left) const {
        constexpr int kVector = 16 / static_cast<int>(sizeof(T));
        const T* const start = source + chunk() * kVector;
        const u32 to = block + first() * 128 + (chunk() ^ first() % 8) * 16;
        const u32 units = static_cast<u32>(stride / kVector);
        const int here = kWhole ? left : lesser(left - chunk() * kVector, kVector);
        if (here <= 0) {
            MOE_ROLL
            for (int i = 0; first() + i * kStep < height; ++i) {
                copy_async(to + i * (kStep * 128), source, 0);
            }
            return;
        }
        MOE_UNROLL
        for (int i = 0; i < kLines; ++i) {
            if (first() + i * kStep >= height) continue;
            const T* const from = start + static_cast<i64>(opaque(rows[i])) * units * kVector;
            if constexpr (kWhole) {
                copy_whole_async(to + i * (kStep * 128), from);
            } else {
                copy_async(to + i * (kStep * 128), from, here * static_cast<int>(sizeof(T)));
            }
        }
    }
};

}  // namespace moe
