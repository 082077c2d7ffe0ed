// Number formats: widening to f32, rounding from f32 (to nearest even), packing into 16 bytes.
#pragma once

#include "words.h"

namespace moe {

MOE_DEVICE u32 bits_of(float x) { return bits_as<u32>(x); }
MOE_DEVICE float float_of(u32 bits) { return bits_as<float>(bits); }

MOE_DEVICE float widen(float x) { return x; }
MOE_DEVICE float widen(bf16 x) { return float_of(static_cast<u32>(x.bits) << 16); }

MOE_DEVICE float widen(f16 x) {
    const u32 sign = static_cast<u32>(x.bits & 0x8000u) << 16;
    const u32 exponent = x.bits >> 10 & 31u, fraction = x.bits & 1023u;
    if (exponent == 31) return float_of(fraction ? 0x7fffffffu : sign | 0x7f800000u);
    if (exponent != 0) return float_of(sign | (exponent + 112) << 23 | fraction << 13);
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
}

template <class T>
MOE_DEVICE T rounded(float x);

template <>
MOE_DEVICE float rounded<float>(float x) {
    return x;
}

// A NaN becomes the format's canonical one, as cvt.rn does.
template <>
MOE_DEVICE bf16 rounded<bf16>(float x) {
    const u32 bits = bits_of(x);
    if (x != x) return {0x7fff};
    return {static_cast<u16>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16)};
}

template <>
MOE_DEVICE f16 rounded<f16>(float x) {
    const u32 bits = bits_of(x);
    const u16 sign = static_cast<u16>(bits >> 16 & 0x8000u);
    const u32 magnitude = bits & 0x7fffffffu;
    if (x != x) return {0x7fff};
    if (magnitude >= 0x477ff000u) return {static_cast<u16>(sign | 0x7c00u)};
    if (magnitude < 0x38800000u) {
        // Below the normal range: adding 0.5 leaves the rounded multiple of 2^-24 in the low bits.
        const u32 sum = bits_of(float_of(magnitude) + 0.5f);
        return {static_cast<u16>(sign | (sum - 0x3f000000u))};
    }
    const u32 rebased = magnitude - (112u << 23);
    return {static_cast<u16>(sign | ((rebased + 0xfffu + (rebased >> 13 & 1u)) >> 13))};
}

// Two neighbours in one word, the lower address in the lower half.
template <class T>
MOE_DEVICE u32 pair(float low, float high) {
    return rounded<T>(low).bits | static_cast<u32>(rounded<T>(high).bits) << 16;
}

template <class T, int kCount>
MOE_DEVICE Words pack(const T (&vector)[kCount]) {
    static_assert(sizeof vector == sizeof(Words));
    Words result;
    __builtin_memcpy(&result, vector, sizeof result);
    return result;
}

template <class T, int kCount>
MOE_DEVICE void unpack(Words words, T (&vector)[kCount]) {
    static_assert(sizeof vector == sizeof words);
    __builtin_memcpy(vector, &words, sizeof words);
}

}  // namespace moe
