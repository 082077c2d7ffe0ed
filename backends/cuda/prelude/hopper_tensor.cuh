// Copies of boxes of tensors by the copy engine. A TensorMap describes the tensor, the box and how
// it lies in shared memory; it is a kernel argument. Coordinates are signed and start with the
// innermost dimension. What lies outside the tensor loads as the map's fill and is not stored.

namespace moe {

struct alignas(64) TensorMap {
    unsigned char opaque[128];
};

template <int kRank>
struct Box {
    int at[kRank];
};

// How long the second cache level should keep what is copied.
constexpr u64 keep_normal = 0x1000000000000000, keep_briefly = 0x12f0000000000000,
              keep_long = 0x14f0000000000000;

MOE_DEVICE void prefetch_map(const TensorMap& map) {
    asm volatile("prefetch.tensormap [%0];" : : "l"(&map) : "memory");
}

#define MOE_TENSOR_LOAD(rank, coordinates)                                                        \
    "cp.async.bulk.tensor." rank                                                                  \
    "d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1, "      \
    coordinates "], [%2], %3;"
#define MOE_TENSOR_LOAD_MULTICAST(rank, coordinates)                                              \
    "cp.async.bulk.tensor." rank                                                                  \
    "d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster"               \
    ".L2::cache_hint [%0], [%1, " coordinates "], [%2], %3, %4;"
#define MOE_TENSOR_STORE(rank, coordinates)                                                       \
    "cp.async.bulk.tensor." rank "d.global.shared::cta.tile.bulk_group [%0, " coordinates "], [%1];"

// The whole box counts at `barrier`, what lies outside the tensor included.
template <int kRank>
MOE_DEVICE void tensor_load(u32 offset, const TensorMap& map, Box<kRank> box, u32 barrier,
                            u64 keep = keep_normal) {
    static_assert(kRank >= 2 && kRank <= 5);
    const u32 to = shared_address(offset), done = shared_address(barrier);
    if constexpr (kRank == 2) {
        asm volatile(MOE_TENSOR_LOAD("2", "{%4, %5}")
                     :
                     : "r"(to), "l"(&map), "r"(done), "l"(keep), "r"(box.at[0]), "r"(box.at[1])
                     : "memory");
    } else if constexpr (kRank == 3) {
        asm volatile(MOE_TENSOR_LOAD("3", "{%4, %5, %6}")
                     :
                     : "r"(to), "l"(&map), "r"(done), "l"(keep), "r"(box.at[0]), "r"(box.at[1]),
                       "r"(box.at[2])
                     : "memory");
    } else if constexpr (kRank == 4) {
        asm volatile(MOE_TENSOR_LOAD("4", "{%4, %5, %6, %7}")
                     :
                     : "r"(to), "l"(&map), "r"(done), "l"(keep), "r"(box.at[0]), "r"(box.at[1]),
                       "r"(box.at[2]), "r"(box.at[3])
                     : "memory");
    } else {
        asm volatile(MOE_TENSOR_LOAD("5", "{%4, %5, %6, %7, %8}")
                     :
                     : "r"(to), "l"(&map), "r"(done), "l"(keep), "r"(box.at[0]), "r"(box.at[1]),
                       "r"(box.at[2]), "r"(box.at[3]), "r"(box.at[4])
                     : "memory");
    }
}

// To the same offset of every CTA whose bit is set in `ranks`, and counted at each one's barrier.
template <int kRank>
MOE_DEVICE void tensor_load_multicast(u32 offset, const TensorMap& map, Box<kRank> box,
                                      u32 barrier, u16 ranks, u64 keep = keep_normal) {
    static_assert(kRank >= 2 && kRank <= 5);
    const u32 to = shared_address(offset), done = shared_address(barrier);
    if constexpr (kRank == 2) {
        asm volatile(MOE_TENSOR_LOAD_MULTICAST("2", "{%5, %6}")
                     :
                     : "r"(to), "l"(&map), "r"(done), "h"(ranks), "l"(keep), "r"(box.at[0]),
                       "r"(box.at[1])
                     : "memory");
    } else if constexpr (kRank == 3) {
        asm volatile(MOE_TENSOR_LOAD_MULTICAST("3", "{%5, %6, %7}")
                     :
                     : "r"(to), "l"(&map), "r"(done), "h"(ranks), "l"(keep), "r"(box.at[0]),
                       "r"(box.at[1]), "r"(box.at[2])
                     : "memory");
    } else if constexpr (kRank == 4) {
        asm volatile(MOE_TENSOR_LOAD_MULTICAST("4", "{%5, %6, %7, %8}")
                     :
                     : "r"(to), "l"(&map), "r"(done), "h"(ranks), "l"(keep), "r"(box.at[0]),
                       "r"(box.at[1]), "r"(box.at[2]), "r"(box.at[3])
                     : "memory");
    } else {
        asm volatile(MOE_TENSOR_LOAD_MULTICAST("5", "{%5, %6, %7, %8, %9}")
                     :
                     : "r"(to), "l"(&map), "r"(done), "h"(ranks), "l"(keep), "r"(box.at[0]),
                       "r"(box.at[1]), "r"(box.at[2]), "r"(box.at[3]), "r"(box.at[4])
                     : "memory");
    }
}

// Joins the calling thread's current bulk group.
template <int kRank>
MOE_DEVICE void tensor_store(const TensorMap& map, Box<kRank> box, u32 offset) {
    static_assert(kRank >= 2 && kRank <= 5);
    const u32 from = shared_address(offset);
    if constexpr (kRank == 2) {
        asm volatile(MOE_TENSOR_STORE("2", "{%2, %3}")
                     :
                     : "l"(&map), "r"(from), "r"(box.at[0]), "r"(box.at[1])
                     : "memory");
    } else if constexpr (kRank == 3) {
        asm volatile(MOE_TENSOR_STORE("3", "{%2, %3, %4}")
                     :
                     : "l"(&map), "r"(from), "r"(box.at[0]), "r"(box.at[1]), "r"(box.at[2])
                     : "memory");
    } else if constexpr (kRank == 4) {
        asm volatile(MOE_TENSOR_STORE("4", "{%2, %3, %4, %5}")
                     :
                     : "l"(&map), "r"(from), "r"(box.at[0]), "r"(box.at[1]), "r"(box.at[2]),
                       "r"(box.at[3])
                     : "memory");
    } else {
        asm volatile(MOE_TENSOR_STORE("5", "{%2, %3, %4, %5, %6}")
                     :
                     : "l"(&map), "r"(from), "r"(box.at[0]), "r"(box.at[1]), "r"(box.at[2]),
                       "r"(box.at[3]), "r"(box.at[4])
                     : "memory");
    }
}

}  // namespace moe
