// What roles hand each other in shared memory: stages of operands, and tiles. Both are rings of
// slots with two mbarriers a slot, 8 bytes each: one for `full`, one for `empty`. A tile lies in its
// slot; a stage lies behind the one before, and those of higher tiles are longer.

namespace moe {

// This CTA's number in a cluster of kCluster, 0 if it is alone.
template <int kCluster>
MOE_DEVICE int rank_in() {
    if constexpr (kCluster > 1) return cluster_rank();
    return 0;
}

// Arrives at the mbarrier of the CTA with this number.
template <int kCluster>
MOE_DEVICE void arrive_at(u32 barrier, int rank) {
    if constexpr (kCluster > 1) {
        peer_arrive(peer_address(barrier, rank));
    } else {
        barrier_arrive(barrier);
    }
}

// A place in a ring, and the parity of the phase in which its slot is filled.
template <int kSlots>
struct Ring {
    int slot = 0;
    u32 parity = 0;

    MOE_DEVICE void advance() {
        if (++slot == kSlots) {
            slot = 0;
            parity ^= 1;
        }
    }

    MOE_DEVICE void skip(int count) {
        slot += count;
        const int turns = slot / kSlots;
        slot -= turns * kSlots;
        parity ^= turns & 1;
    }

    MOE_DEVICE void wait_full(u32 full) const { barrier_wait(full + slot * 8, parity); }
    // Until the slot may be filled.
    MOE_DEVICE void wait_empty(u32 empty) const { barrier_wait(empty + slot * 8, parity ^ 1); }
    // Until what was filled in at this place is gone.
    MOE_DEVICE void wait_emptied(u32 empty) const { barrier_wait(empty + slot * 8, parity); }
};

// A place among the stages: they follow each other in kBytes of shared memory, from its start, and
// none goes over its end. There are never more of them than kSlots.
template <int kSlots, u32 kBytes>
struct Stages {
    Ring<kSlots> ring;
    u32 end = 0;  // of the stage before

    MOE_DEVICE u32 start(u32 bytes) const { return end + bytes > kBytes ? 0 : end; }

    MOE_DEVICE void advance(u32 bytes) {
        end = start(bytes) + bytes;
        ring.advance();
    }

    MOE_DEVICE void skip(int count, u32 bytes) {
        const int here = static_cast<int>((kBytes - end) / bytes);
        if (count <= here) {
            end += count * bytes;
        } else {
            const int turn = static_cast<int>(kBytes / bytes);
            end = ((count - here - 1) % turn + 1) * bytes;
        }
        ring.skip(count);
    }
};

// The same for one thread that fills stages of several lengths. A place is free once all that lay
// there are gone; an i32 for every slot is kept at `taken`.
template <int kSlots, u32 kBytes>
struct StagesToFill : Stages<kSlots, kBytes> {
    u32 taken;            // by each slot's stage, with what was left free before it
    Ring<kSlots> oldest;  // not known to be gone
    u32 room = kBytes;    // from the last one's end to the oldest

    MOE_DEVICE explicit StagesToFill(u32 the_taken) : taken(the_taken) {}

    // What can be done before the last wait is: a copy is late by what stands between. But the slot
    // may still say what the oldest took.
    MOE_DEVICE void wait_free(u32 empty, u32 bytes) {
        const u32 needed = this->end + bytes > kBytes ? kBytes - this->end + bytes : bytes;
        while (room < needed) {
            room += shared_load<u32>(taken + oldest.slot * 4);
            oldest.wait_emptied(empty);
            oldest.advance();
        }
        shared_store(taken + this->ring.slot * 4, needed);
        room -= needed;
    }
};

// One thread calls; `fillers` and `emptiers` arrive at each slot in turn.
template <int kSlots>
MOE_DEVICE void init_ring(u32 full, u32 fillers, u32 empty, u32 emptiers) {
    for (int slot = 0; slot < kSlots; ++slot) {
        barrier_init(full + slot * 8, fillers);
        barrier_init(empty + slot * 8, emptiers);
    }
}

// The next tile that the scheduler has published; a whole warp calls, or with kAlone one thread.
template <class Order, bool kAlone = false, int kSlots>
MOE_DEVICE Tile take_tile(Ring<kSlots>& ring, u32 tiles, u32 full, u32 empty) {
    const u32 place = tiles + ring.slot * int(sizeof(Tile));
    if constexpr (Order::kCluster > 1) {
        barrier_wait_cluster(full + ring.slot * 8, ring.parity);
    } else {
        ring.wait_full(full);
    }
    const Tile tile = shared_load<Tile>(place);
    if (!kAlone) sync_warp();
    if (kAlone || lane_index() == 0) arrive_at<Order::kCluster>(empty + ring.slot * 8, 0);
    ring.advance();
    return tile_of_rank<Order>(tile, rank_in<Order::kCluster>());
}

// One thread of the cluster calls, once the slot is empty; every CTA of it gets the tile.
template <class Order, int kSlots>
MOE_DEVICE void publish_tile(Ring<kSlots>& ring, const Tile& tile, u32 tiles, u32 full) {
    const u32 place = tiles + ring.slot * int(sizeof(Tile));
    if constexpr (Order::kCluster > 1) {
        static_assert(sizeof(Tile) == 3 * sizeof(Words), "a field would be lost");
        Words part[sizeof(Tile) / sizeof(Words)];
        part[0] = {{u32(tile.expert), u32(tile.start), u32(tile.count), u32(tile.row)}};
        part[1] = {{u32(tile.rows), u32(tile.height), u32(tile.column), u32(tile.split)}};
        part[2] = {{u32(tile.number), u32(tile.below), u32(tile.once), 0}};
        MOE_UNROLL
        for (int rank = 0; rank < Order::kCluster; ++rank) {
            MOE_UNROLL
            for (int i = 0; i < int(sizeof(Tile) / sizeof(Words)); ++i) {
                peer_store(peer_address(place + i * int(sizeof(Words)), rank), part[i]);
            }
            peer_arrive_release(peer_address(full + ring.slot * 8, rank));
        }
    } else {
        shared_store(place, tile);
        barrier_arrive(full + ring.slot * 8);
    }
    ring.advance();
}

}  // namespace moe
