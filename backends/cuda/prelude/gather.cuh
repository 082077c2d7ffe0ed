// Rows that a map leads to, brought in by the threads of a producer: 16 bytes at a time, into
// blocks as the copy engine would fill them. An mbarrier counts the copies as they land.

namespace moe {

// What one of kThreads threads, of which thread kFirst is the first, does for tiles of up to kRows
// rows: it always has the same 16 bytes of every kStep-th line, and remembers where each is next.
// These addresses have registers of their own from the first to the last block of a tile: one that
// a copy was given is not free again for a while.
template <class T, int kFirst, int kThreads, int kRows>
struct Gather {
    static constexpr int kChunks = 8;  // in a line of 128 bytes
    static constexpr int kVector = 16 / static_cast<int>(sizeof(T));
    static constexpr int kStep = kThreads / kChunks;
    static constexpr int kLines = (kRows + kStep - 1) / kStep;
    static_assert(kStep % 8 == 0, "a thread's lines differ in the swizzle");

    const T* from[kLines];

    static MOE_DEVICE int first() { return (thread_index() - kFirst) / kChunks; }
    static MOE_DEVICE int chunk() { return (thread_index() - kFirst) % kChunks; }

    // Of a new tile, of which `count` rows are there. The others are copies of the last one: nobody
    // looks at what they are multiplied to. `source` is element 0 of row 0 at the first depth.
    MOE_DEVICE void open(const T* source, i64 stride, const int* map, i64 map_stride, int count) {
        MOE_UNROLL
        for (int i = 0; i < kLines; ++i) {
            const int line = lesser(first() + i * kStep, count - 1);
            from[i] = source + global_load(map + line * map_stride) * stride + chunk() * kVector;
        }
    }

    // The next block of a tile that is `height` rows high, of whose depth `left` elements are there;
    // what is not there is zero. With kWhole all are there or none.
    template <bool kWhole>
    MOE_DEVICE void copy(u32 block, int height, int left) {
        const u32 to = block + first() * 128 + (chunk() ^ first() % 8) * 16;
        const int lines = (height - first() + kStep - 1) / kStep;
        const int here = lesser(left - chunk() * kVector, kVector);
        if (kWhole && left > 0) {
            copy_whole<kLines>(to, lines);
        } else {
            const int bytes = here > 0 ? here * static_cast<int>(sizeof(T)) : 0;
            MOE_UNROLL
            for (int i = 0; i < kLines; ++i) {
                if (i < lines) copy_async(to + i * (kStep * 128), from[i], bytes);
            }
        }
        MOE_UNROLL
        for (int i = 0; i < kLines; ++i) from[i] = opaque(from[i] + kChunks * kVector);
    }

private:
    // Copies one after the other, none of which depends on a predicate: else all would be given
    // their address in the same register, and each would wait for the one before.
    template <int kCount>
    MOE_DEVICE void copy_whole(u32 to, int lines) const {
        if constexpr (kCount > 0) {
            if (lines < kCount) {
                copy_whole<kCount - 1>(to, lines);
                return;
            }
            MOE_UNROLL
            for (int i = 0; i < kCount; ++i) copy_whole_async(to + i * (kStep * 128), from[i]);
        }
    }
};

}  // namespace moe
