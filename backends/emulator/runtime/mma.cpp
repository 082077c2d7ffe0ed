// mma.sync.aligned.m16n8k16 (bf16, f16) and m16n8k8 (tf32), fragments as the PTX ISA lays them
// out: lane l has row group l / 4 and column group l % 4.

#include "abi.h"
#include "numbers.h"
#include "scheduler.h"
#include "tensor_core.h"
#include "warp.h"

namespace emu {

constexpr unsigned rows = 16, columns = 8, most_depth = 16;

struct MmaFrame {
  float* d;
  const unsigned *a, *b;
  EmuMma kind;
};

static void run_mma(void* const* frames, unsigned) {
  const EmuMma kind = static_cast<MmaFrame*>(frames[0])->kind;
  const unsigned packed = kind == EMU_MMA_TF32 ? 1 : 2;  // elements of a register
  const unsigned group = 4 * packed, depth = 2 * group;  // k of one register column, and in all
  float a[rows * most_depth], b[columns * most_depth], d[rows * columns];
  for (unsigned lane = 0; lane < warp_size; lane++) {
    const auto frame = static_cast<MmaFrame*>(frames[lane]);
    const unsigned row = lane / 4, first = packed * (lane % 4);
    for (unsigned part = 0; part < 4; part++) {
      for (unsigned i = 0; i < packed; i++) {
        a[(row + 8 * (part % 2)) * depth + first + i + group * (part / 2)] =
            widen(kind, frame->a[part], i);
      }
      d[(row + 8 * (part / 2)) * columns + 2 * (lane % 4) + part % 2] = frame->d[part];
    }
    for (unsigned part = 0; part < 2; part++) {
      for (unsigned i = 0; i < packed; i++) {
        b[row * depth + first + i + group * part] = widen(kind, frame->b[part], i);
      }
    }
  }
  tensor_core_multiply(kind, rows, columns, depth, a, b, d);
  for (unsigned lane = 0; lane < warp_size; lane++) {
    const auto frame = static_cast<MmaFrame*>(frames[lane]);
    for (unsigned part = 0; part < 4; part++) {
      frame->d[part] = d[(lane / 4 + 8 * (part / 2)) * columns + 2 * (lane % 4) + part % 2];
    }
  }
}

}  // namespace emu

extern "C" void emu_mma(EmuMma kind, float* d, const unsigned* a, const unsigned* b, int line) {
  emu::expect_set(d, 4, line);
  emu::MmaFrame frame{d, a, b, kind};
  emu::collective("mma", 0xffffffff, &frame, line, emu::run_mma);
}
