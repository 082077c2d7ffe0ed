// Elements of matrix operands as f32.
#pragma once

#include <cstdint>
#include <cstring>

#include "abi.h"

namespace emu {

inline unsigned element_bytes(EmuMma kind) { return kind == EMU_MMA_TF32 ? 4 : 2; }

inline float from_bits(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline float from_half(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000) << 16;
  const std::uint32_t exponent = bits >> 10 & 31, fraction = bits & 1023;
  if (exponent == 31) return from_bits(sign | 0x7f800000 | fraction << 13);
  if (exponent == 0) {
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  return from_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

// Element number `element` of a register. The low 13 bits of tf32 are not looked at.
inline float widen(EmuMma kind, unsigned word, unsigned element) {
  switch (kind) {
    case EMU_MMA_BF16: return from_bits(word >> 16 * element << 16);
    case EMU_MMA_F16: return from_half(static_cast<std::uint16_t>(word >> 16 * element));
    case EMU_MMA_TF32: return from_bits(word & 0xffffe000);
  }
  return 0;
}

}  // namespace emu
