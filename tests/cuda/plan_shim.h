// One thread as a whole CTA, on the host: enough of the primitives to run plan.cuh and walk.cuh.

#include <cstdio>
#include <cstring>
#include <vector>

#define MOE_DEVICE inline

namespace moe {

using i64 = long long;
using u32 = unsigned int;

inline unsigned char shared_block[1 << 20];
inline int the_cta = 0;
inline int the_count = 1;

inline int thread_index() { return 0; }
inline int lane_index() { return 0; }
inline int warp_index() { return 0; }
inline int cta_index() { return the_cta; }
inline int cta_count() { return the_count; }
inline void sync_cta() {}
inline int shuffle_up(int value, int) { return value; }

template <class T>
T shared_load(u32 offset) {
    T value;
    std::memcpy(&value, shared_block + offset, sizeof(T));
    return value;
}

template <class T>
void shared_store(u32 offset, T value) {
    std::memcpy(shared_block + offset, &value, sizeof(T));
}

template <class T>
T global_load(const T* source) {
    return *source;
}

template <class T>
void global_store(T* target, T value) {
    *target = value;
}

inline int atomic_add(int* target, int value) {
    const int old = *target;
    *target += value;
    return old;
}

}  // namespace moe
