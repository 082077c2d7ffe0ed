// Words of the device half: how functions, kernels and loops are marked, and the number types.

#define MOE_DEVICE __device__ __forceinline__
#define MOE_KERNEL(threads, blocks) \
    extern "C" __global__ void __launch_bounds__(threads, blocks)
#define MOE_ARGUMENTS const __grid_constant__
#define MOE_UNROLL _Pragma("unroll")
#define MOE_ROLL _Pragma("unroll 1")

// Constants state the whole schedule, also what one kernel happens not to use.
#pragma nv_diag_suppress 177

namespace moe {

using i64 = long long;
using u16 = unsigned short;
using u32 = unsigned int;

struct bf16 {
    u16 bits;
};

struct f16 {
    u16 bits;
};

// An f32 that is rounded to tf32 when it enters a multiplication.
struct tf32 {
    float value;
};

struct alignas(16) Words {
    u32 word[4];
};

struct alignas(16) Floats {
    float value[4];
};

struct alignas(8) FloatPair {
    float value[2];
};

}  // namespace moe
