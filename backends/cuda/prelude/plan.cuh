// The work plan on the device: what each expert has of it, as moedsl/work.py defines it; walk.cuh takes
// the tiles one after the other.
//
// `Order` is the schedule as constants. In shared memory lie the packed start of every expert, for
// every position of the order the number of items up to it, and a ring of the tiles in flight.

namespace moe {

struct alignas(16) Tile {
    int expert;  // -1 behind the last tile
    int start;   // packed position of the expert's first row
    int count;   // rows of the expert
    int row;     // first row, counted from the first of the output's rows for this expert
    int rows;    // rows that are really there
    int height;  // rows that are computed
    int column;
    int split;
    int number;  // of this output tile among all; the same in every split of it
    int below;  // rows of the tile below, which the other CTA of a pair takes; 0 if it takes columns
    int once;   // whether no other tile reads its columns, while others read theirs again
    int unused;
};

enum class Persistence { kStatic, kDynamic, kOff };

MOE_DEVICE int ceil_div(int a, int b) { return (a + b - 1) / b; }
MOE_DEVICE int lesser(int a, int b) { return a < b ? a : b; }
MOE_DEVICE int greater(int a, int b) { return a < b ? b : a; }

// Sum of the values of lower threads. `scratch` is i32[33] in shared memory; all threads call.
template <int kThreads>
MOE_DEVICE int exclusive_sum_cta(int value, u32 scratch) {
    int sum = value;
    for (int distance = 1; distance < 32; distance *= 2) {
        const int below = shuffle_up(sum, distance);
        if (lane_index() >= distance) sum += below;
    }
    sync_cta();
    if (lane_index() == 31) shared_store(scratch + warp_index() * 4, sum);
    sync_cta();
    int before = 0;
    for (int warp = 0; warp < warp_index(); ++warp) before += shared_load<int>(scratch + warp * 4);
    return before + sum - value;
}

template <class Order>
struct Plan {
    int row_tiles;  // of every expert; of k-grouped kernels only
    int column_tiles;  // of a whole cluster
    int items;
    int wide_items;  // those of experts with several row tiles, if they are interleaved
    int mixed_items;  // those among which these are spread
    int columns;
    int rows;
    bool rereads;  // whether columns of some expert are read again; known with kOnce

    static MOE_DEVICE int start_of(int expert) {
        return shared_load<int>(Order::kStarts + expert * 4);
    }
    static MOE_DEVICE int count_of(int expert) { return start_of(expert + 1) - start_of(expert); }
    static MOE_DEVICE int items_through(int position) {
        return shared_load<int>(Order::kItemEnds + position * 4);
    }
    static MOE_DEVICE int expert_at(int position) {
        if constexpr (Order::kLongest || Order::kInterleaved) {
            return shared_load<int>(Order::kOrder + position * 4);
        }
        return position;
    }
    static MOE_DEVICE bool small(int count) { return count > 0 && count <= Order::kFuseRows; }

    // Items that `expert` leads: none if it is empty or shares those of a lower one.
    MOE_DEVICE int items_of(int expert) const {
        const int count = count_of(expert);
        if (Order::kFuseRows > 0 && small(count)) {
            const int window = expert - expert % Order::kFuseWindow;
            for (int other = window; other < expert; ++other) {
                if (small(count_of(other))) return 0;
            }
        }
        return ceil_div(count, Order::kTileRows) * column_tiles * Order::kSplits;
    }

    // Experts by falling count, ties by number: a bitonic sort of (count, number).
    MOE_DEVICE void sort_experts() const {
        constexpr int kSlots = Order::kSortSlots;
        for (int i = thread_index(); i < kSlots; i += Order::kThreads) {
            shared_store(Order::kOrder + i * 4, i);
        }
        for (int size = 2; size <= kSlots; size *= 2) {
            for (int distance = size / 2; distance > 0; distance /= 2) {
                sync_cta();
                for (int pair = thread_index(); pair < kSlots / 2; pair += Order::kThreads) {
                    const int low = pair / distance * distance * 2 + pair % distance;
                    const int a = shared_load<int>(Order::kOrder + low * 4);
                    const int b = shared_load<int>(Order::kOrder + (low + distance) * 4);
                    if (before(b, a) == ((low & size) == 0)) {
                        shared_store(Order::kOrder + low * 4, b);
                        shared_store(Order::kOrder + (low + distance) * 4, a);
                    }
                }
            }
        }
        sync_cta();
    }

    // Experts with several row tiles first, else by number, but for the last of the low ones. Returns
    // how many the first are, and sets `mixed_items`.
    MOE_DEVICE int separate_experts(int first, int last) {
        int more_items = 0;
        for (int e = first; e < last; ++e) more_items += items_of(e);
        more_items += exclusive_sum_cta<Order::kThreads>(more_items, Order::kScratch);
        const int all_items = last_of_cta(more_items);
        // Both counts in one sum: shared memory has no room for as many experts as half of it holds.
        constexpr int kLow = 1 << 16;
        int mine = 0;
        for (int e = first; e < last; ++e) mine += wide(count_of(e)) + (low(count_of(e)) ? kLow : 0);
        int before = exclusive_sum_cta<Order::kThreads>(mine, Order::kScratch);
        const int all = last_of_cta(before + mine);
        const int each = column_tiles * Order::kSplits;
        const int kept = lesser(all / kLow, all_items / greater(16 * each, 1));
        const int usual = all / kLow - kept;
        for (int e = first; e < last; ++e) {
            const bool is_wide = wide(count_of(e));
            const bool is_low = low(count_of(e));
            const int wide_before = before % kLow;
            const int kept_before = greater(before / kLow - usual, 0);
            int position = is_wide ? wide_before : all % kLow + e - wide_before - kept_before;
            if (is_low && before / kLow >= usual) position = Order::kExperts - kept + kept_before;
            shared_store(Order::kOrder + position * 4, e);
            before += is_wide + (is_low ? kLow : 0);
        }
        sync_cta();
        mixed_items = all_items - kept * each;
        return all % kLow;
    }

    // The last thread's value, for all threads.
    static MOE_DEVICE int last_of_cta(int value) {
        if (thread_index() == Order::kThreads - 1) shared_store(Order::kTickets, value);
        sync_cta();
        return shared_load<int>(Order::kTickets);
    }

    // Whether a CTA, or a pair, could have all rows of an expert: nobody else reads its columns.
    static MOE_DEVICE bool read_once(int count) {
        return count <= Order::kTileRows * (Order::kPairsRows ? 2 : 1);
    }

    static MOE_DEVICE bool wide(int count) { return count > Order::kTileRows; }

    // Whether few rows are all that there is in an item. It shares none with other experts.
    static MOE_DEVICE bool low(int count) {
        return count > Order::kFuseRows && count <= Order::kTileRows / 3;
    }

    // The item that comes `number`-th: wide ones are spread evenly among others, but for those that are
    // kept for the end.
    MOE_DEVICE int item_at(int number) const {
        if constexpr (Order::kInterleaved) {
            if (number >= mixed_items) return number;
            const i64 before = static_cast<i64>(number) * wide_items / mixed_items;
            const i64 through = (static_cast<i64>(number) + 1) * wide_items / mixed_items;
            return static_cast<int>(through > before ? before : wide_items + number - before);
        }
        return number;
    }

    static MOE_DEVICE bool before(int a, int b) {
        const int count_a = a < Order::kExperts ? count_of(a) : -1;
        const int count_b = b < Order::kExperts ? count_of(b) : -1;
        return count_a > count_b || (count_a == count_b && a < b);
    }

    // All threads call. `row_count` is the extent of the output's rows if they are not ragged.
    MOE_DEVICE void build(const int* offs, int row_count, int column_count) {
        rows = row_count;
        columns = column_count;
        row_tiles = Order::kRowGrouped ? 0 : ceil_div(rows, Order::kTileRows);
        column_tiles = ceil_div(columns, Order::kTileColumns * Order::kCluster);
        for (int e = thread_index(); e <= Order::kExperts; e += Order::kThreads) {
            shared_store(Order::kStarts + e * 4, e == 0 ? 0 : global_load(offs + e - 1));
        }
        sync_cta();
        if constexpr (!Order::kRowGrouped) {
            items = Order::kExperts * row_tiles * column_tiles * Order::kSplits;
            return;
        }
        if constexpr (Order::kLongest) sort_experts();
        constexpr int kRun = (Order::kExperts + Order::kThreads - 1) / Order::kThreads;
        const int first = lesser(thread_index() * kRun, Order::kExperts);
        const int last = lesser(first + kRun, Order::kExperts);
        int wide_experts = 0;
        if constexpr (Order::kInterleaved) wide_experts = separate_experts(first, last);
        if constexpr (Order::kOnce) {
            int again = 0;
            for (int e = first; e < last; ++e) again += !read_once(count_of(e));
            again += exclusive_sum_cta<Order::kThreads>(again, Order::kScratch);
            rereads = last_of_cta(again) > 0;
        }
        int mine = 0;
        for (int position = first; position < last; ++position) mine += items_of(expert_at(position));
        int end = exclusive_sum_cta<Order::kThreads>(mine, Order::kScratch);
        for (int position = first; position < last; ++position) {
            end += items_of(expert_at(position));
            shared_store(Order::kItemEnds + position * 4, end);
        }
        if constexpr (Order::kCountTiles) number_tiles(first, last);
        sync_cta();
        items = items_through(Order::kExperts - 1);
        wide_items = wide_experts ? items_through(wide_experts - 1) : 0;
    }

    // Output tiles before each expert; needed where several of them share an item.
    MOE_DEVICE void number_tiles(int first, int last) const {
        int mine = 0;
        for (int e = first; e < last; ++e) mine += ceil_div(count_of(e), Order::kTileRows);
        int before = exclusive_sum_cta<Order::kThreads>(mine, Order::kScratch);
        for (int e = first; e < last; ++e) {
            shared_store(Order::kTileNumbers + e * 4, before * column_tiles);
            before += ceil_div(count_of(e), Order::kTileRows);
        }
    }

    // First position whose items reach beyond `item`.
    static MOE_DEVICE int position_of(int item) {
        int low = 0;
        int high = Order::kExperts - 1;
        while (low < high) {
            const int middle = (low + high) / 2;
            if (items_through(middle) > item) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        return low;
    }
};

}  // namespace moe
