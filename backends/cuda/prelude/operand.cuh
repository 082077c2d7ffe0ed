// Operand tiles in shared memory, and the copies that fill them.
//
// An operand has positions (rows or columns of the output) and a depth. Its tile holds lines of
// 16-byte chunks: a line is a position if the depth is innermost, else one step of the depth. The
// chunks of a line are permuted so that the eight lines one ldmatrix phase reads (or the lanes of
// a scalar read) fall into different banks.

namespace moe {

MOE_DEVICE constexpr int lowest_bit(int number) { return number & -number; }
MOE_DEVICE constexpr int least(int a, int b) { return a < b ? a : b; }

MOE_DEVICE int clamped(int value, int high) { return value < 0 ? 0 : value < high ? value : high; }

template <class T, int kPositionCount, int kDepthCount, bool kDepthIsInner>
struct OperandTile {
    using Element = T;
    static constexpr int kPositions = kPositionCount;
    static constexpr int kDepth = kDepthCount;
    static constexpr bool kDepthInner = kDepthIsInner;
    static constexpr int kVector = 16 / static_cast<int>(sizeof(T));
    static constexpr int kLines = kDepthInner ? kPositions : kDepth;
    static constexpr int kChunks = (kDepthInner ? kDepth : kPositions) / kVector;
    static constexpr int kPitch = kChunks * 16;
    static constexpr int kBytes = kLines * kPitch;

    // Byte offset of a chunk. Lines an odd multiple of 128 bytes apart share banks; 4-byte
    // elements with positions innermost are read two chunks wide, so their lines step by two.
    static MOE_DEVICE int place(int line, int chunk) {
        constexpr int kCycle = least(8, lowest_bit(kChunks));
        constexpr bool kWide = !kDepthInner && sizeof(T) == 4 && kCycle == 8;
        const int turn = kWide ? line * 2 : line / (8 / kCycle);
        return line * kPitch + (chunk ^ (turn & (kCycle - 1))) * 16;
    }
};

// Which chunks of a tile this thread copies: chunk `chunk(i)` of line `line(i)`.
template <class Tile, int kThreads>
struct Share {
    static constexpr int kChunks = Tile::kLines * Tile::kChunks;
    static constexpr int kCount = (kChunks + kThreads - 1) / kThreads;
    static constexpr bool kRegular = kThreads % Tile::kChunks == 0;
    static constexpr int kLineStep = kRegular ? kThreads / Tile::kChunks : 0;
    static constexpr bool kEven = kChunks % kThreads == 0;

    static MOE_DEVICE int line(int i) {
        return kRegular ? thread_index() / Tile::kChunks + i * kLineStep
                        : (thread_index() + i * kThreads) / Tile::kChunks;
    }
    static MOE_DEVICE int chunk(int i) {
        return kRegular ? thread_index() % Tile::kChunks
                        : (thread_index() + i * kThreads) % Tile::kChunks;
    }
    static MOE_DEVICE bool exists(int i) {
        return kEven || thread_index() + i * kThreads < kChunks;
    }
};

// Copies 16 bytes at a time; the innermost stride is 1 and every line starts 16-byte aligned.
// With `kTails` a tile may be lower than its shared memory.
template <class Tile, int kThreads, bool kTails>
struct VectorCopy {
    using Mine = Share<Tile, kThreads>;
    using Element = typename Tile::Element;

    const Element* source;  // this thread's first chunk at the next stage's depth
    i64 line_stride;
    i64 stage_stride;
    int positions;
    int height;

    // `origin` is the element at the tile's first position and depth; `count` positions are real.
    MOE_DEVICE void open(const Element* origin, i64 position_stride, i64 depth_stride, int count,
                         int tile_height) {
        line_stride = Tile::kDepthInner ? position_stride : depth_stride;
        stage_stride = Tile::kDepth * depth_stride;
        positions = count;
        height = tile_height;
        source = origin;
        if constexpr (Mine::kRegular) {
            source += Mine::line(0) * line_stride + Mine::chunk(0) * Tile::kVector;
        }
    }

    MOE_DEVICE void copy(u32 tile, int depth_left) {
        const Element* chunk_source = source;
        MOE_UNROLL
        for (int i = 0; i < Mine::kCount; ++i) {
            const int line = Mine::line(i);
            const int chunk = Mine::chunk(i);
            const int inner = chunk * Tile::kVector;
            if (!Mine::kRegular) chunk_source = source + line * line_stride + inner;
            const int limit = Tile::kDepthInner ? positions : depth_left;
            const int left = (Tile::kDepthInner ? depth_left : positions) - inner;
            const int bytes = line < limit ? clamped(left, Tile::kVector) * int(sizeof(Element)) : 0;
            const int position = Tile::kDepthInner ? line : inner;
            if (Mine::exists(i) && (!kTails || position < height)) {
                copy_async(tile + Tile::place(line, chunk), chunk_source, bytes);
            }
            if (Mine::kRegular) chunk_source += Mine::kLineStep * line_stride;
        }
        source += stage_stride;
    }
};

// The same through a map: line i of the tile is line `map[i]` of the tensor.
template <class Tile, int kThreads, bool kTails>
struct MappedVectorCopy {
    using Mine = Share<Tile, kThreads>;
    using Element = typename Tile::Element;

    const Element* source;
    const int* map;
    i64 map_stride;
    i64 line_stride;
    int positions;
    int height;
    int lines[Mine::kCount];

    // `origin` is at coordinate 0 of the mapped dimension; `line_map` at the tile's first line.
    MOE_DEVICE void open(const Element* origin, const int* line_map, i64 line_map_stride,
                         i64 mapped_stride, int count, int tile_height) {
        source = origin;
        map = line_map;
        map_stride = line_map_stride;
        line_stride = mapped_stride;
        positions = count;
        height = tile_height;
        if constexpr (Tile::kDepthInner) read_map(positions);
    }

    MOE_DEVICE void read_map(int limit) {
        MOE_UNROLL
        for (int i = 0; i < Mine::kCount; ++i) {
            const int line = Mine::line(i);
            lines[i] = line < limit ? global_load(map + line * map_stride) : 0;
        }
    }

    MOE_DEVICE void copy(u32 tile, int depth_left) {
        if constexpr (!Tile::kDepthInner) read_map(depth_left);
        MOE_UNROLL
        for (int i = 0; i < Mine::kCount; ++i) {
            const int line = Mine::line(i);
            const int chunk = Mine::chunk(i);
            const int inner = chunk * Tile::kVector;
            const int limit = Tile::kDepthInner ? positions : depth_left;
            const int left = (Tile::kDepthInner ? depth_left : positions) - inner;
            const int bytes = line < limit ? clamped(left, Tile::kVector) * int(sizeof(Element)) : 0;
            const int position = Tile::kDepthInner ? line : inner;
            if (Mine::exists(i) && (!kTails || position < height)) {
                copy_async(tile + Tile::place(line, chunk), source + lines[i] * line_stride + inner,
                           bytes);
            }
        }
        if constexpr (Tile::kDepthInner) {
            source += Tile::kDepth;
        } else {
            map += Tile::kDepth * map_stride;
        }
    }
};

// Copies element by element: any strides, any alignment, either coordinate through a map.
template <class Tile, int kThreads, bool kTails>
struct ElementCopy {
    using Mine = Share<Tile, kThreads>;
    using Element = typename Tile::Element;

    const Element* source;
    const int* position_map;  // null where positions count by themselves
    const int* depth_map;
    i64 position_map_stride;
    i64 depth_map_stride;
    i64 position_stride;
    i64 depth_stride;
    int positions;
    int height;
    int depth;

    // `origin` is at the tile's first position and depth, or at coordinate 0 of what is mapped.
    MOE_DEVICE void open(const Element* origin, i64 stride_of_position, i64 stride_of_depth,
                         int count, int tile_height) {
        source = origin;
        position_stride = stride_of_position;
        depth_stride = stride_of_depth;
        positions = count;
        height = tile_height;
        position_map = nullptr;
        depth_map = nullptr;
        depth = 0;
    }

    MOE_DEVICE void map_positions(const int* map, i64 stride) {
        position_map = map;
        position_map_stride = stride;
    }

    MOE_DEVICE void map_depth(const int* map, i64 stride) {
        depth_map = map;
        depth_map_stride = stride;
    }

    MOE_DEVICE Element element(int position, int stage_depth) const {
        const i64 at_depth = depth + stage_depth;
        const i64 row = position_map ? global_load(position_map + position * position_map_stride)
                                     : position;
        const i64 step = depth_map ? global_load(depth_map + at_depth * depth_map_stride) : at_depth;
        return global_load(source + row * position_stride + step * depth_stride);
    }

    MOE_DEVICE void copy(u32 tile, int depth_left) {
        MOE_ROLL
        for (int i = 0; i < Mine::kCount; ++i) {
            const int line = Mine::line(i);
            const int chunk = Mine::chunk(i);
            const int first = chunk * Tile::kVector;
            if (!Mine::exists(i) || (kTails && (Tile::kDepthInner ? line : first) >= height)) {
                continue;
            }
            Element vector[Tile::kVector];
            MOE_UNROLL
            for (int j = 0; j < Tile::kVector; ++j) {
                const int position = Tile::kDepthInner ? line : first + j;
                const int step = Tile::kDepthInner ? first + j : line;
                const bool real = position < positions && step < depth_left;
                vector[j] = real ? element(position, step) : Element{};
            }
            shared_store(tile + Tile::place(line, chunk), pack(vector));
        }
        depth += Tile::kDepth;
    }
};

}  // namespace moe
