// Elementwise functions on f32. Each rounds once: no contraction, no fast approximations.

namespace moe {

MOE_DEVICE float add(float x, float y) { return __fadd_rn(x, y); }
MOE_DEVICE float subtract(float x, float y) { return __fsub_rn(x, y); }
MOE_DEVICE float multiply(float x, float y) { return __fmul_rn(x, y); }
MOE_DEVICE float divide(float x, float y) { return __fdiv_rn(x, y); }
MOE_DEVICE float multiply_add(float x, float y, float z) { return __fmaf_rn(x, y, z); }
MOE_DEVICE float negate(float x) { return -x; }
MOE_DEVICE float absolute(float x) { return fabsf(x); }
MOE_DEVICE float exponential(float x) { return expf(x); }
MOE_DEVICE float hyperbolic_tangent(float x) { return tanhf(x); }

// A NaN operand gives NaN.
MOE_DEVICE float minimum(float x, float y) { return x != x || x < y ? x : y; }
MOE_DEVICE float maximum(float x, float y) { return x != x || x > y ? x : y; }
MOE_DEVICE float clamp(float x, float low, float high) { return minimum(maximum(x, low), high); }

MOE_DEVICE float sigmoid(float x) { return divide(1.0f, add(1.0f, expf(-x))); }
MOE_DEVICE float silu(float x) { return divide(x, add(1.0f, expf(-x))); }
MOE_DEVICE float relu(float x) { return maximum(x, 0.0f); }

// x (1 + erf(x / sqrt 2)) / 2
MOE_DEVICE float gelu(float x) {
    return multiply(multiply(0.5f, x), add(1.0f, erff(multiply(x, 0.70710678118654752f))));
}

// x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2
MOE_DEVICE float gelu_tanh(float x) {
    const float cube = multiply(multiply(x, x), x);
    const float inner = multiply(0.79788456080286536f, add(x, multiply(0.044715f, cube)));
    return multiply(multiply(0.5f, x), add(1.0f, tanhf(inner)));
}

}  // namespace moe
