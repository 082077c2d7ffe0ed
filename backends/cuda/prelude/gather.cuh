// Rows that a map leads to, brought in by the threads of a producer: 16 bytes at a time, into
// blocks as the copy engine would fill them.

namespace moe {

// kThreads threads from thread kFirst on; `rows` is where the tile's rows of the tensor are kept.
template <int kFirst, int kThreads>
struct Gather {
    static constexpr int kChunks = 8;  // of 16 bytes in a line of 128

    static MOE_DEVICE int thread() { return thread_index() - kFirst; }

    // Of a new tile: `count` of its `height` rows are there. The threads meet at barrier `named`.
    static MOE_DEVICE void open(u32 rows, const int* map, i64 map_stride, int count, int named) {
        named_sync(named, kThreads);
        MOE_ROLL
        for (int line = thread(); line < count; line += kThreads) {
            shared_store(rows + line * 4, global_load(map + line * map_stride));
        }
        named_sync(named, kThreads);
    }

    // One block. `source` is element 0 of the tensor's row 0 at the block's depth, of which `left`
    // elements are there; what is not there is zero.
    template <class T>
    static MOE_DEVICE void copy(u32 block, u32 rows, const T* source, i64 stride, int count,
                                int height, int left) {
        constexpr int kVector = 16 / static_cast<int>(sizeof(T));
        const int chunk = thread() % kChunks;
        const int bytes = lesser(left - chunk * kVector, kVector) * static_cast<int>(sizeof(T));
        const int present = bytes > 0 ? bytes : 0;
        MOE_ROLL
        for (int line = thread() / kChunks; line < height; line += kThreads / kChunks) {
            const u32 to = block + line * 128 + (chunk ^ line % 8) * 16;
            const bool real = line < count;
            const i64 row = real ? shared_load<int>(rows + line * 4) : 0;
            copy_async(to, source + row * stride + chunk * kVector, real ? present : 0);
        }
    }
};

// Stages under way: one counts as filled when its copies have landed, some stages later.
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
        fence_async();
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
        while (open > 0) land<0>(full);
    }
};

}  // namespace moe
