#include "tensor_core.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "numbers.h"
#include "report.h"

namespace emu {

constexpr int kept_bits = 25;        // below the highest exponent of any term
constexpr int no_exponent = -10000;  // of zeros

static std::uint32_t bits_of(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

// The exponent that an operand is stored with: numbers below the normal range have the range's.
static int stored_exponent(float value, int least) {
  const std::uint32_t bits = bits_of(value);
  return bits << 1 == 0 ? no_exponent : std::max(static_cast<int>(bits >> 23 & 255) - 127, least);
}

// Where an operand's highest and lowest set bits are.
struct Span {
  int highest = no_exponent, lowest = -no_exponent;
  bool finite = true;
};

static Span span_of(const float* values, std::size_t count) {
  Span span;
  for (std::size_t i = 0; i < count; i++) {
    const std::uint32_t bits = bits_of(values[i]);
    if (bits << 1 == 0) continue;
    const int exponent = std::max(static_cast<int>(bits >> 23 & 255), 1) - 127;
    const std::uint32_t fraction = (bits & 0x7fffff) | (bits >> 23 & 255 ? 0x800000 : 0);
    span.highest = std::max(span.highest, exponent);
    span.lowest = std::min(span.lowest, exponent - 23 + __builtin_ctz(fraction));
    span.finite &= std::isfinite(values[i]);
  }
  return span;
}

// Whether f32 holds all sums of these terms, however they are added: then no rounding shows.
static bool sums_are_exact(const Span& a, const Span& b, const Span& d) {
  constexpr int fraction_bits = 24, most_exponent = 100, carries = 6;  // two of a product, 17 terms
  if (!a.finite || !b.finite || !d.finite) return false;
  const int highest = std::max(a.highest + b.highest, d.highest);
  const int lowest = std::min(a.lowest + b.lowest, d.lowest);
  return highest + carries - lowest <= fraction_bits && std::abs(highest) < most_exponent &&
         std::abs(lowest) < most_exponent;
}

static double power_of_two(int exponent) {
  const auto bits = static_cast<std::uint64_t>(exponent + 1023) << 52;
  double value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Rounds towards zero, but for what lies beyond the range: that is infinite.
static float towards_zero(double exact) {
  const auto near = static_cast<float>(exact);
  if (std::fabs(exact) >= power_of_two(128)) return near;
  const bool away = std::fabs(static_cast<double>(near)) > std::fabs(exact);
  return away ? std::nextafter(near, 0.0f) : near;
}

// Where a term is infinite or no number, only that matters.
static float special_sum(float d, const float* a, const float* b, unsigned depth) {
  constexpr std::uint32_t canonical_nan = 0x7fffffff;
  double sum = std::isfinite(d) ? 0.0 : d;
  for (unsigned k = 0; k < depth; k++) {
    const double term = static_cast<double>(a[k]) * b[k];
    if (!std::isfinite(term)) sum += term;
  }
  return sum != sum ? from_bits(canonical_nan) : static_cast<float>(sum);
}

// All terms are cut off, towards zero, `kept_bits` below the highest exponent among them (of a
// product, the sum of its factors' exponents); what is left is added exactly.
static float rounded_sum(float d, const float* a, const int* a_exponents, const float* b,
                         const int* b_exponents, unsigned depth) {
  int highest = stored_exponent(d, -126);
  for (unsigned k = 0; k < depth; k++) {
    highest = std::max(highest, a_exponents[k] + b_exponents[k]);
  }
  if (highest <= no_exponent / 2) return 0.0f;
  const double scale = power_of_two(kept_bits - highest);
  auto sum = static_cast<std::int64_t>(static_cast<double>(d) * scale);
  for (unsigned k = 0; k < depth; k++) {
    sum += static_cast<std::int64_t>(static_cast<double>(a[k]) * b[k] * scale);
  }
  return towards_zero(static_cast<double>(sum) * power_of_two(highest - kept_bits));
}

static std::vector<int> exponents_of(EmuMma kind, const float* values, std::size_t count) {
  const int least = kind == EMU_MMA_F16 ? -14 : -126;
  std::vector<int> exponents(count);
  for (std::size_t i = 0; i < count; i++) exponents[i] = stored_exponent(values[i], least);
  return exponents;
}

// What compilers put into locals that the source leaves open, as toolchain.py asks them to.
#if defined(__clang__)
constexpr std::uint32_t unset = 0xffffffff;
#else
constexpr std::uint32_t unset = 0xfefefefe;
#endif

void expect_set(const float* sums, unsigned count, int line) {
  for (unsigned i = 0; i < count; i++) {
    if (bits_of(sums[i]) == unset) {
      fail_here("undefined", line, text("adds to accumulator %u, which nobody has set", i));
    }
  }
}

void tensor_core_multiply(EmuMma kind, unsigned rows, unsigned columns, unsigned depth,
                          const float* a, const float* b, float* d) {
  const Span a_span = span_of(a, rows * depth), b_span = span_of(b, columns * depth);
  const Span d_span = span_of(d, rows * columns);
  if (sums_are_exact(a_span, b_span, d_span)) {
    std::vector<float> turned(columns * depth);
    for (unsigned i = 0; i < columns * depth; i++) {
      turned[i % depth * columns + i / depth] = b[i];
    }
    for (unsigned row = 0; row < rows; row++) {
      float* const sums = d + row * columns;
      for (unsigned k = 0; k < depth; k++) {
        const float left = a[row * depth + k];
        const float* const right = &turned[k * columns];
        for (unsigned column = 0; column < columns; column++) sums[column] += left * right[column];
      }
    }
    return;
  }
  const bool finite = a_span.finite && b_span.finite && d_span.finite;
  const std::vector<int> a_exponents = exponents_of(kind, a, rows * depth);
  const std::vector<int> b_exponents = exponents_of(kind, b, columns * depth);
  for (unsigned i = 0; i < rows * columns; i++) {
    const unsigned left = i / columns * depth, right = i % columns * depth;
    bool special = !finite && !std::isfinite(d[i]);
    for (unsigned k = 0; !finite && k < depth; k++) {
      special |= !std::isfinite(a[left + k]) || !std::isfinite(b[right + k]);
    }
    d[i] = special ? special_sum(d[i], a + left, b + right, depth)
                   : rounded_sum(d[i], a + left, &a_exponents[left], b + right,
                                 &b_exponents[right], depth);
  }
}

}  // namespace emu
