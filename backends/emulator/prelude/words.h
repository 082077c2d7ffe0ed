// Words of the host half: how functions, kernels and loops are marked, and the number types.
#pragma once

#include "../runtime/abi.h"

#define MOE_DEVICE inline
#define MOE_KERNEL(threads, blocks) extern "C" void
#define MOE_ARGUMENTS const
#define MOE_UNROLL
#define MOE_ROLL

// The line of the call: what a finding points at.
#define MOE_LINE int line = __builtin_LINE()

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

// The bits of a value of the same size.
template <class To, class From>
MOE_DEVICE To bits_as(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    __builtin_memcpy(&to, &from, sizeof to);
    return to;
}

}  // namespace moe
