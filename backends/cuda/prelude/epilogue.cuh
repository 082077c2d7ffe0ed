// How sums leave: eight rows at a time through shared memory, then vectors of consecutive columns.

namespace moe {

// kCount staged or partial sums from consecutive columns.
template <int kCount>
MOE_DEVICE void load_staged(float (&result)[kCount], u32 source) {
    MOE_UNROLL
    for (int i = 0; i < kCount; i += 4) {
        const Floats four = shared_load<Floats>(source + i * 4);
        MOE_UNROLL
        for (int j = 0; j < 4; ++j) result[i + j] = four.value[j];
    }
}

// kCount elements, `stride` apart, widened; those from `count` on are not read and are 0.
template <int kCount, class T>
MOE_DEVICE void load_elements(float (&result)[kCount], const T* source, i64 stride, int count) {
    MOE_UNROLL
    for (int i = 0; i < kCount; ++i) {
        result[i] = i < count ? widen(global_load(source + i * stride)) : 0.0f;
    }
}

// kCount consecutive elements; `source` is 16-byte aligned.
template <int kCount, class T>
MOE_DEVICE void load_vector(float (&result)[kCount], const T* source, int count) {
    constexpr int kVector = 16 / static_cast<int>(sizeof(T));
    static_assert(kCount % kVector == 0, "a vector holds more than the thread's columns");
    if (count < kCount) return load_elements(result, source, 1, count);
    MOE_UNROLL
    for (int i = 0; i < kCount; i += kVector) {
        T vector[kVector];
        unpack(global_load(reinterpret_cast<const Words*>(source + i)), vector);
        MOE_UNROLL
        for (int j = 0; j < kVector; ++j) result[i + j] = widen(vector[j]);
    }
}

template <int kCount, class T>
MOE_DEVICE void store_elements(T* target, i64 stride, int count, const float (&value)[kCount]) {
    MOE_UNROLL
    for (int i = 0; i < kCount; ++i) {
        if (i < count) global_store(target + i * stride, rounded<T>(value[i]));
    }
}

template <int kCount, class T>
MOE_DEVICE void store_vector(T* target, int count, const float (&value)[kCount]) {
    constexpr int kVector = 16 / static_cast<int>(sizeof(T));
    static_assert(kCount % kVector == 0, "a vector holds more than the thread's columns");
    if (count < kCount) return store_elements(target, 1, count, value);
    MOE_UNROLL
    for (int i = 0; i < kCount; i += kVector) {
        T vector[kVector];
        MOE_UNROLL
        for (int j = 0; j < kVector; ++j) vector[j] = rounded<T>(value[i + j]);
        global_store(reinterpret_cast<Words*>(target + i), pack(vector));
    }
}

// Adds where several rows may meet: atomic, in no fixed order.
template <int kCount>
MOE_DEVICE void add_elements(float* target, i64 stride, int count, const float (&value)[kCount]) {
    MOE_UNROLL
    for (int i = 0; i < kCount; ++i) {
        if (i < count) atomic_add(target + i * stride, value[i]);
    }
}

template <int kCount>
MOE_DEVICE void add_vector(float* target, int count, const float (&value)[kCount]) {
    // Else what it is computed from is kept in registers, for both ways to add.
    target = opaque(target);
    if (count < kCount) return add_elements(target, 1, count, value);
    MOE_UNROLL
    for (int i = 0; i < kCount; i += 4) {
        atomic_add(target + i, Floats{value[i], value[i + 1], value[i + 2], value[i + 3]});
    }
}

}  // namespace moe
