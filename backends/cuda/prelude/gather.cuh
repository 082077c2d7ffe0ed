// Rows that a map leads to, brought in by the threads of a producer: 16 bytes at a time, into
// blocks as the copy engine would fill them.

namespace moe {

// kThreads threads from thread kFirst on, for tiles of up to kRows rows. A thread always has the same
// 16 bytes of a line, of every kStep-th line; where these start is kept in shared memory at `rows`,
// in units of 16 bytes from row 0, so that a copy takes few instructions.
template <int kFirst, int kThreads, int kRows>
struct Gather {
    static constexpr int kChunks = 8;  // in a line of 128 bytes
    static constexpr int kStep = kThreads / kChunks;
    static constexpr int kLines = (kRows + kStep - 1) / kStep;  // of one thread
    static constexpr int kBatch = 4;
    static_assert(kStep % 8 == 0, "a thread's lines differ in the swizzle");

    static MOE_DEVICE int thread() { return thread_index() - kFirst; }

    static MOE_DEVICE u32 place_of(u32 rows, int line) {
        return rows + (line % kStep * kLines + line / kStep) * 4;
    }

    // Of a new tile: `count` of its `height` rows are there. The others are copies of the last one:
    // nobody looks at what they are multiplied to. The threads meet at barrier `named`.
    static MOE_DEVICE void open(u32 rows, const int* map, i64 map_stride, i64 line_units,
                                int count, int height, int named) {
        named_sync(named, kThreads);
        MOE_ROLL
        for (int line = thread(); line < height; line += kThreads) {
            const int row = global_load(map + lesser(line, count - 1) * map_stride);
            shared_store(place_of(rows, line), static_cast<u32>(row * line_units));
        }
        named_sync(named, kThreads);
    }

    // Lines that are whole, several at a time: where they start is read before any is copied.
    template <int kCount, class T>
    static MOE_DEVICE void copy_lines(u32 to, u32 from, const T* start, int i) {
        i64 units[kCount];
        MOE_UNROLL
        for (int j = 0; j < kCount; ++j) units[j] = shared_load<u32>(from + (i + j) * 4);
        MOE_UNROLL
        for (int j = 0; j < kCount; ++j) {
            constexpr int kVector = 16 / static_cast<int>(sizeof(T));
            copy_whole_async(to + (i + j) * (kStep * 128), start + units[j] * kVector);
        }
    }

    // One block. `source` is element 0 of row 0 at the block's depth, of which `left` elements are
    // there; what is not there is zero.
    template <class T>
    static MOE_DEVICE void copy(u32 block, u32 rows, const T* source, int height, int left) {
        constexpr int kVector = 16 / static_cast<int>(sizeof(T));
        const int chunk = thread() % kChunks;
        const int first = thread() / kChunks;
        const T* const start = source + chunk * kVector;
        const u32 to = block + first * 128 + (chunk ^ first % 8) * 16;
        const u32 from = place_of(rows, first);
        const int lines = (height - first + kStep - 1) / kStep;
        if (left >= kChunks * kVector) {
            int i = 0;
            MOE_ROLL
            for (; i + kBatch <= lines; i += kBatch) copy_lines<kBatch>(to, from, start, i);
            MOE_ROLL
            for (; i < lines; ++i) copy_lines<1>(to, from, start, i);
            return;
        }
        const int here = lesser(left - chunk * kVector, kVector);
        const int bytes = here > 0 ? here * static_cast<int>(sizeof(T)) : 0;
        MOE_ROLL
        for (int i = 0; i < lines; ++i) {
            const i64 units = bytes ? shared_load<u32>(from + i * 4) : 0;
            copy_async(to + i * (kStep * 128), bytes ? start + units * kVector : source, bytes);
        }
    }
};

// Stages under way: one counts as filled when its copies have landed, some stages later. Those who
// wait for it have to fence before they multiply: a fence here would wait for the younger ones, too.
template <int kStages, int kBehind>
struct Landing {
    Ring<kStages> ring;
    int open = 0;
    int of_tile = 0;  // stages issued since the last tile ended

    // The calling warp's copies of the next stage have been issued.
    MOE_DEVICE void issued(u32 full) {
        copy_commit();
        ++of_tile;
        if (++open > kBehind) land<kBehind>(full);
    }

    // The oldest stage has landed when at most kPending younger ones are under way.
    template <int kPending>
    MOE_DEVICE void land(u32 full) {
        copy_wait<kPending>();
        sync_warp();
        if (lane_index() == 0) barrier_arrive(full + ring.slot * 8);
        ring.advance();
        --open;
    }

    // Before the next tile is taken, all tiles but this one have landed whole: it is published only
    // when every consumer has finished one of those.
    MOE_DEVICE void end_tile(u32 full) {
        if (open > of_tile) finish(full);
        of_tile = 0;
    }

    MOE_DEVICE void finish(u32 full) {
        copy_wait<0>();
        while (open > 0) land<0>(full);
    }
};

}  // namespace moe
