// mma.sync.aligned.m16n8k16 (bf16, f16) and m16n8k8 (tf32), fragments as the PTX ISA lays them
// out: lane l has row group l / 4 and column group l % 4.

#include <cstdint>
#include <cstring>

#include "abi.h"
#include "scheduler.h"
#include "warp.h"

namespace emu {

constexpr unsigned rows = 16, columns = 8, most_depth = 16;

struct MmaFrame {
  float* d;
  const unsigned *a, *b;
  EmuMma kind;
};

static float from_bits(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

static float from_half(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000) << 16;
  const std::uint32_t exponent = bits >> 10 & 31, fraction = bits & 1023;
  if (exponent == 31) return from_bits(sign | 0x7f800000 | fraction << 13);
  if (exponent == 0) {
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  return from_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

static float widen(EmuMma kind, unsigned word, unsigned element) {
  switch (kind) {
    case EMU_MMA_BF16: return from_bits(word >> 16 * element << 16);
    case EMU_MMA_F16: return from_half(static_cast<std::uint16_t>(word >> 16 * element));
    case EMU_MMA_TF32: return from_bits(word & 0xffffe000);  // the low 13 bits are not looked at
  }
  return 0;
}

static void run_mma(void* const* frames, unsigned) {
  const EmuMma kind = static_cast<MmaFrame*>(frames[0])->kind;
  const unsigned packed = kind == EMU_MMA_TF32 ? 1 : 2;  // elements of a register
  const unsigned group = 4 * packed, depth = 2 * group;  // k of one register column, and in all
  float a[rows][most_depth], b[most_depth][columns], d[rows][columns];
  for (unsigned lane = 0; lane < warp_size; lane++) {
    const auto frame = static_cast<MmaFrame*>(frames[lane]);
    const unsigned row = lane / 4, first = packed * (lane % 4);
    for (unsigned part = 0; part < 4; part++) {
      for (unsigned i = 0; i < packed; i++) {
        a[row + 8 * (part % 2)][first + i + group * (part / 2)] = widen(kind, frame->a[part], i);
      }
      d[row + 8 * (part / 2)][2 * (lane % 4) + part % 2] = frame->d[part];
    }
    for (unsigned part = 0; part < 2; part++) {
      for (unsigned i = 0; i < packed; i++) {
        b[first + i + group * part][row] = widen(kind, frame->b[part], i);
      }
    }
  }
  for (unsigned row = 0; row < rows; row++) {
    for (unsigned k = 0; k < depth; k++) {
      for (unsigned column = 0; column < columns; column++) {
        d[row][column] += a[row][k] * b[k][column];
      }
    }
  }
  for (unsigned lane = 0; lane < warp_size; lane++) {
    const auto frame = static_cast<MmaFrame*>(frames[lane]);
    for (unsigned part = 0; part < 4; part++) {
      frame->d[part] = d[lane / 4 + 8 * (part / 2)][2 * (lane % 4) + part % 2];
    }
  }
}

}  // namespace emu

extern "C" void emu_mma(EmuMma kind, float* d, const unsigned* a, const unsigned* b, int line) {
  emu::MmaFrame frame{d, a, b, kind};
  emu::collective("mma", 0xffffffff, &frame, line, emu::run_mma);
}
