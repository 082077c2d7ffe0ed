// What roles hand each other in shared memory: stages of operands, and tiles. Both are rings of
// slots with two mbarriers a slot, 8 bytes each: one for `full`, one for `empty`.

namespace moe {

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
    MOE_DEVICE void wait_empty(u32 empty) const { barrier_wait(empty + slot * 8, parity ^ 1); }
};

// One thread calls; `fillers` and `emptiers` arrive at each slot in turn.
template <int kSlots>
MOE_DEVICE void init_ring(u32 full, u32 fillers, u32 empty, u32 emptiers) {
    for (int slot = 0; slot < kSlots; ++slot) {
        barrier_init(full + slot * 8, fillers);
        barrier_init(empty + slot * 8, emptiers);
    }
}

// The next tile that the scheduler has published; a whole warp calls.
template <int kSlots>
MOE_DEVICE Tile take_tile(Ring<kSlots>& ring, u32 tiles, u32 full, u32 empty) {
    ring.wait_full(full);
    const Tile tile = shared_load<Tile>(tiles + ring.slot * int(sizeof(Tile)));
    sync_warp();
    if (lane_index() == 0) barrier_arrive(empty + ring.slot * 8);
    ring.advance();
    return tile;
}

// One thread calls.
template <int kSlots>
MOE_DEVICE void publish_tile(Ring<kSlots>& ring, const Tile& tile, u32 tiles, u32 full, u32 empty) {
    ring.wait_empty(empty);
    shared_store(tiles + ring.slot * int(sizeof(Tile)), tile);
    barrier_arrive(full + ring.slot * 8);
    ring.advance();
}

}  // namespace moe
