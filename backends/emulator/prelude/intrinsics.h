// What CUDA C has built in and the portable half of the prelude uses.
#pragma once

extern "C" {
float fabsf(float) noexcept;
float expf(float) noexcept;
float tanhf(float) noexcept;
float erff(float) noexcept;
float fmaf(float, float, float) noexcept;
}

static inline float __fadd_rn(float x, float y) { return x + y; }
static inline float __fsub_rn(float x, float y) { return x - y; }
static inline float __fmul_rn(float x, float y) { return x * y; }
static inline float __fdiv_rn(float x, float y) { return x / y; }
static inline float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
