// Number formats: widening to f32, rounding from f32 (to nearest even), packing into 16 bytes.

namespace moe {

MOE_DEVICE float widen(bf16 x) { return __uint_as_float(static_cast<u32>(x.bits) << 16); }

MOE_DEVICE float widen(f16 x) {
    float result;
    asm("cvt.f32.f16 %0, %1;" : "=f"(result) : "h"(x.bits));
    return result;
}

MOE_DEVICE float widen(float x) { return x; }

template <class T>
MOE_DEVICE T rounded(float x);

template <>
MOE_DEVICE bf16 rounded<bf16>(float x) {
    bf16 result;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(result.bits) : "f"(x));
    return result;
}

template <>
MOE_DEVICE f16 rounded<f16>(float x) {
    f16 result;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(result.bits) : "f"(x));
    return result;
}

template <>
MOE_DEVICE float rounded<float>(float x) {
    return x;
}

// Two neighbours in one word, the lower address in the lower half.
template <class T>
MOE_DEVICE u32 pair(float low, float high);

template <>
MOE_DEVICE u32 pair<bf16>(float low, float high) {
    u32 result;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(high), "f"(low));
    return result;
}

template <>
MOE_DEVICE u32 pair<f16>(float low, float high) {
    u32 result;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(high), "f"(low));
    return result;
}

MOE_DEVICE u32 bits_of(float x) { return __float_as_uint(x); }
MOE_DEVICE float float_of(u32 bits) { return __uint_as_float(bits); }

template <class T>
MOE_DEVICE Words pack(const T (&vector)[8]) {
    Words result;
    MOE_UNROLL
    for (int i = 0; i < 4; ++i) {
        result.word[i] = vector[2 * i].bits | static_cast<u32>(vector[2 * i + 1].bits) << 16;
    }
    return result;
}

MOE_DEVICE Words pack(const float (&vector)[4]) {
    return {bits_of(vector[0]), bits_of(vector[1]), bits_of(vector[2]), bits_of(vector[3])};
}

MOE_DEVICE Words pack(const tf32 (&vector)[4]) {
    return {bits_of(vector[0].value), bits_of(vector[1].value), bits_of(vector[2].value),
            bits_of(vector[3].value)};
}

template <class T>
MOE_DEVICE void unpack(Words words, T (&vector)[8]) {
    MOE_UNROLL
    for (int i = 0; i < 4; ++i) {
        vector[2 * i].bits = static_cast<u16>(words.word[i]);
        vector[2 * i + 1].bits = static_cast<u16>(words.word[i] >> 16);
    }
}

MOE_DEVICE void unpack(Words words, float (&vector)[4]) {
    MOE_UNROLL
    for (int i = 0; i < 4; ++i) vector[i] = float_of(words.word[i]);
}

}  // namespace moe
