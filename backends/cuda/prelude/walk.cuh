// The walk over the plan: which tiles a CTA, or a cluster, takes one after the other.

namespace moe {

// Rows of an expert that one of its row tiles holds.
struct RowRange {
    int first;
    int last;
};

template <class Order>
MOE_DEVICE RowRange row_range(int rows, int row_tile) {
    if constexpr (Order::kBalanced) {
        const int units = ceil_div(rows, Order::kUnit);
        const int tiles = ceil_div(rows, Order::kTileRows);
        const int each = units / tiles;
        const int extra = units - each * tiles;
        const int first = row_tile * each + lesser(row_tile, extra);
        const int last = first + each + (row_tile < extra ? 1 : 0);
        return {first * Order::kUnit, lesser(rows, last * Order::kUnit)};
    } else {
        const int first = row_tile * Order::kTileRows;
        return {first, lesser(rows, first + Order::kTileRows)};
    }
}

// Walks the tiles of the items that this CTA takes. All threads walk alike, or with kAlone one
// walks for all.
template <class Order>
struct Walk {
    const Plan<Order>& plan;
    int* counter;  // of items handed out, then of CTAs that have left; both zero between launches
    int item;
    int ticket;  // of thread 0
    int turn;
    int member;  // expert whose tile comes next, or -1 to take an item
    int row_tile;
    int column_tile;
    int split;
    int number;

    MOE_DEVICE Walk(const Plan<Order>& the_plan, int* the_counter)
        : plan(the_plan), counter(the_counter), item(worker()), ticket(worker()), turn(0),
          member(-1), row_tile(0), column_tile(0), split(0), number(0) {}

    // Those who take items: the CTAs, or whole clusters of them.
    static MOE_DEVICE int worker() { return cta_index() / Order::kCluster; }
    static MOE_DEVICE int workers() { return cta_count() / Order::kCluster; }

    MOE_DEVICE int take_item() {
        if constexpr (Order::kPersistence == Persistence::kDynamic && Order::kAlone) {
            // As late as it can be: a ticket taken early keeps an item from who is free before.
            if (turn == 0) {
                turn = 1;
                return worker();
            }
            return atomic_add(counter, 1) + workers();
        }
        if constexpr (Order::kPersistence == Persistence::kDynamic && !Order::kAlone) {
            const u32 slot = Order::kTickets + turn * 4;
            if (thread_index() == 0) shared_store(slot, ticket);
            sync_cta();
            const int taken = shared_load<int>(slot);
            turn ^= 1;
            if (thread_index() == 0 && taken < plan.items) {
                ticket = atomic_add(counter, 1) + workers();
            }
            return taken;
        }
        const int taken = item;
        item = Order::kPersistence == Persistence::kStatic ? item + workers() : plan.items;
        return taken;
    }

    // Row tile and column tile of the `place`-th of `row_tiles` x `column_tiles` tiles.
    MOE_DEVICE void raster(int place, int row_tiles, int column_tiles) {
        const int along = Order::kAlongRows ? row_tiles : column_tiles;
        const int across = Order::kAlongRows ? column_tiles : row_tiles;
        const int group = place / (Order::kRasterGroup * across);
        const int within = place - group * Order::kRasterGroup * across;
        const int width = lesser(Order::kRasterGroup, along - group * Order::kRasterGroup);
        const int step = within / width;
        int offset = within - step * width;
        if (Order::kSerpentine && step % 2) offset = width - 1 - offset;
        const int position = group * Order::kRasterGroup + offset;
        row_tile = Order::kAlongRows ? position : step;
        column_tile = Order::kAlongRows ? step : position;
    }

    // False behind the last item.
    MOE_DEVICE bool open_item() {
        int taken = take_item();
        if (taken >= plan.items) return false;
        taken = plan.item_at(taken);
        if constexpr (Order::kRowGrouped) {
            const int position = Plan<Order>::position_of(taken);
            const int place = taken - (position ? Plan<Order>::items_through(position - 1) : 0);
            member = Plan<Order>::expert_at(position);
            split = place % Order::kSplits;
            raster(place / Order::kSplits, ceil_div(Plan<Order>::count_of(member), Order::kTileRows),
                   plan.column_tiles);
            number = taken / Order::kSplits;
        } else {
            const int each = plan.row_tiles * plan.column_tiles;
            number = taken / Order::kSplits;
            split = taken % Order::kSplits;
            member = number / each;
            raster(number - member * each, plan.row_tiles, plan.column_tiles);
        }
        return true;
    }

    MOE_DEVICE Tile next() {
        if (member < 0 && !open_item()) {
            Tile none{};
            none.expert = -1;
            return none;
        }
        Tile tile{};
        tile.expert = member;
        tile.start = Plan<Order>::start_of(member);
        tile.count = Plan<Order>::count_of(member);
        const int rows = Order::kRowGrouped ? tile.count : plan.rows;
        tile.column = column_tile * Order::kTileColumns * Order::kCluster;
        int upper = row_tile;
        if (Order::kPairsRows && (row_tile ^ 1) < ceil_div(rows, Order::kTileRows) &&
            tile.column + Order::kTileColumns < plan.columns) {
            // Of two row tiles by two column tiles, a pair of CTAs takes one column tile.
            upper = row_tile & ~1;
            tile.column += (row_tile & 1) * Order::kTileColumns;
            const RowRange lower = row_range<Order>(rows, upper + 1);
            tile.below = lower.last - lower.first;
        }
        const RowRange range = row_range<Order>(rows, upper);
        tile.row = range.first;
        tile.rows = range.last - range.first;
        // A tile has no fewer rows than the one below.
        tile.height = Order::height(tile.rows);
        tile.split = split;
        tile.number = number;
        if constexpr (Order::kOnce) {
            // Two row tiles without a second column tile are no pair.
            const bool whole = !Plan<Order>::wide(tile.count) || tile.below > 0;
            tile.once = plan.rereads && whole && Plan<Order>::read_once(tile.count);
        }
        if constexpr (Order::kCountTiles) {
            const int before = shared_load<int>(Order::kTileNumbers + member * 4);
            tile.number = before + row_tile * plan.column_tiles + column_tile;
        }
        member = following(tile);
        return tile;
    }

    // The next expert that shares the item of `tile`, or -1.
    MOE_DEVICE int following(const Tile& tile) const {
        if (Order::kFuseRows == 0 || !Order::kRowGrouped || !Plan<Order>::small(tile.count)) {
            return -1;
        }
        const int window = tile.expert - tile.expert % Order::kFuseWindow;
        const int end = lesser(window + Order::kFuseWindow, Order::kExperts);
        for (int other = tile.expert + 1; other < end; ++other) {
            if (Plan<Order>::small(Plan<Order>::count_of(other))) return other;
        }
        return -1;
    }

    // Called once, after the last tile: the last CTA to leave clears the counter.
    MOE_DEVICE void leave() const {
        if constexpr (Order::kPersistence == Persistence::kDynamic) {
            if ((Order::kAlone || thread_index() == 0) && atomic_add(counter + 1, 1) == workers() - 1) {
                global_store(counter, 0);
                global_store(counter + 1, 0);
            }
        }
    }
};

// The tile of one CTA of a cluster, whose CTAs have neighbouring columns or neighbouring rows.
template <class Order>
MOE_DEVICE Tile tile_of_rank(Tile tile, int rank) {
    if (Order::kPairsRows && tile.below > 0) {
        if (rank) {
            tile.row += tile.rows;
            tile.rows = tile.below;
        }
    } else {
        tile.column += rank * Order::kTileColumns;
    }
    tile.number = tile.number * Order::kCluster + rank;
    return tile;
}

// The part of a depth that one tile sums, in whole stages; a tile without depth has one empty
// stage.
struct DepthRange {
    int first;
    int last;
    int steps;
};

template <int kStageDepth, int kSplits>
MOE_DEVICE DepthRange depth_range(int depth, int split) {
    const int stages = ceil_div(depth, kStageDepth);
    const int each = stages / kSplits;
    const int extra = stages - each * kSplits;
    const int first = split * each + lesser(split, extra);
    const int last = first + each + (split < extra ? 1 : 0);
    const int steps = last > first ? last - first : 1;
    return {lesser(depth, first * kStageDepth), lesser(depth, last * kStageDepth), steps};
}

}  // namespace moe
