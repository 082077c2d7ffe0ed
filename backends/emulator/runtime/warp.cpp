#include "warp.h"

#include <cstring>

#include "abi.h"
#include "report.h"
#include "scheduler.h"
#include "shared.h"

namespace emu {

constexpr unsigned full_mask = 0xffffffff;

static Warp& own_warp() { return current->block->warps[current->index / warp_size]; }
static unsigned own_lane() { return current->index % warp_size; }

[[noreturn]] static void diverged(const Gathering& gathering, const char* what, int line) {
  fail_here("divergence", line, text("the lanes of a warp do not come to %s together", what),
            {{gathering.line,
              text("lanes %08x wait here in %s", gathering.arrived, gathering.what)}});
}

void expect_converged(const char* what, int line) {
  const Gathering& gathering = own_warp().gathering;
  if (gathering.arrived) diverged(gathering, what, line);
}

void collective(const char* what, unsigned mask, void* frame, int line,
                void (*execute)(void* const* frames, unsigned mask)) {
  Warp& warp = own_warp();
  Gathering& gathering = warp.gathering;
  const unsigned lane = own_lane();
  if (!(mask >> lane & 1)) {
    fail_here("divergence", line, text("lane %u is not in the mask %08x of %s", lane, mask, what));
  }
  if (warp.exited & mask) {
    fail_here("divergence", line,
              text("lanes %08x of the mask of %s have ended", warp.exited & mask, what));
  }
  if (warp.at_barrier & mask) {
    fail_here("divergence", line, text("lanes %08x of the mask of %s wait at a barrier",
                                       warp.at_barrier & mask, what), places());
  }
  if (!gathering.arrived) {
    gathering.what = what;
    gathering.line = line;
    gathering.mask = mask;
  } else if (std::strcmp(gathering.what, what) != 0 || gathering.line != line ||
             gathering.mask != mask) {
    diverged(gathering, what, line);
  }
  gathering.arrived |= 1u << lane;
  gathering.frames[lane] = frame;
  if (gathering.arrived != mask) {
    suspend({what, line, 0});
    return;
  }
  gathering.arrived = 0;
  execute(gathering.frames, mask);
  Thread* first = current - lane;
  for (unsigned i = 0; i < warp_size; i++) {
    if (i != lane && mask >> i & 1) make_ready(first[i]);
  }
  maybe_yield();
}

struct ShuffleFrame {
  unsigned value, operand, result;
  EmuShuffle mode;
};

static unsigned shuffle_source(EmuShuffle mode, unsigned lane, unsigned operand) {
  switch (mode) {
    case EMU_SHUFFLE_INDEX: return operand % warp_size;
    case EMU_SHUFFLE_UP: return lane >= operand ? lane - operand : lane;
    case EMU_SHUFFLE_DOWN: return lane + operand < warp_size ? lane + operand : lane;
    case EMU_SHUFFLE_XOR: return lane ^ operand;
  }
  return lane;
}

static void run_shuffle(void* const* frames, unsigned mask) {
  for (unsigned lane = 0; lane < warp_size; lane++) {
    if (!(mask >> lane & 1)) continue;
    auto frame = static_cast<ShuffleFrame*>(frames[lane]);
    const unsigned source = shuffle_source(frame->mode, lane, frame->operand);
    if (source >= warp_size || !(mask >> source & 1)) {
      fail_here("operands", own_warp().gathering.line,
                text("lane %u shuffles from lane %u, which does not take part", lane, source));
    }
    frame->result = static_cast<ShuffleFrame*>(frames[source])->value;
  }
}

struct VoteFrame {
  int predicate;
  unsigned ballot;
};

static void run_vote(void* const* frames, unsigned mask) {
  unsigned ballot = 0;
  for (unsigned lane = 0; lane < warp_size; lane++) {
    if (mask >> lane & 1 && static_cast<VoteFrame*>(frames[lane])->predicate) ballot |= 1u << lane;
  }
  for (unsigned lane = 0; lane < warp_size; lane++) {
    if (mask >> lane & 1) static_cast<VoteFrame*>(frames[lane])->ballot = ballot;
  }
}

struct MatrixFrame {
  unsigned address, matrices;
  int transposed, line;
  std::uint16_t elements[4][2];  // of each matrix, the two this lane holds
};

// Of matrix m, lane l holds row l / 4, columns 2 (l % 4) and the next; transposed, column and row
// change places. Rows of matrix m come from the addresses of lanes 8 m to 8 m + 7.
template <class Move>
static void for_rows(void* const* frames, Move move) {
  const auto first = static_cast<MatrixFrame*>(frames[0]);
  Thread* lanes = current - own_lane();
  Thread* self = current;
  for (unsigned matrix = 0; matrix < first->matrices; matrix++) {
    for (unsigned row = 0; row < 8; row++) {
      const unsigned lane = 8 * matrix + row;
      auto owner = static_cast<MatrixFrame*>(frames[lane]);
      std::uint16_t* elements[8];
      for (unsigned column = 0; column < 8; column++) {
        const unsigned r = first->transposed ? column : row, c = first->transposed ? row : column;
        auto holder = static_cast<MatrixFrame*>(frames[4 * r + c / 2]);
        elements[column] = &holder->elements[matrix][c % 2];
      }
      current = lanes + lane;  // a bad address is the fault of the lane that brought it
      move(*owner, elements);
    }
  }
  current = self;
}

static void run_ldmatrix(void* const* frames, unsigned) {
  for_rows(frames, [](const MatrixFrame& owner, std::uint16_t* const* elements) {
    std::uint16_t row[8];
    read_shared(owner.address, row, sizeof row, owner.line);
    for (unsigned i = 0; i < 8; i++) *elements[i] = row[i];
  });
}

static void run_stmatrix(void* const* frames, unsigned) {
  for_rows(frames, [](const MatrixFrame& owner, std::uint16_t* const* elements) {
    std::uint16_t row[8];
    for (unsigned i = 0; i < 8; i++) row[i] = *elements[i];
    write_shared(owner.address, row, sizeof row, owner.line);
  });
}

static void run_nothing(void* const*, unsigned) {}

// Frames are the threads themselves.
static void run_sync(void* const* frames, unsigned mask) {
  Time meeting;
  for (unsigned lane = 0; lane < warp_size; lane++) {
    if (mask >> lane & 1) join(meeting, *static_cast<Thread*>(frames[lane]));
  }
  for (unsigned lane = 0; lane < warp_size; lane++) {
    if (mask >> lane & 1) leave_with(meeting, *static_cast<Thread*>(frames[lane]));
  }
}

}  // namespace emu

using namespace emu;

extern "C" {

void emu_warp_sync(unsigned mask, int line) {
  collective("__syncwarp", mask, current, line, run_sync);
}

unsigned emu_shuffle(unsigned mask, unsigned value, EmuShuffle mode, unsigned operand, int line) {
  ShuffleFrame frame{value, operand, 0, mode};
  collective("a shuffle", mask, &frame, line, run_shuffle);
  return frame.result;
}

unsigned emu_vote(unsigned mask, int predicate, EmuVote mode, int line) {
  VoteFrame frame{predicate, 0};
  collective("a vote", mask, &frame, line, run_vote);
  switch (mode) {
    case EMU_VOTE_ANY: return frame.ballot != 0;
    case EMU_VOTE_ALL: return frame.ballot == mask;
    case EMU_VOTE_BALLOT: return frame.ballot;
  }
  return 0;
}

int emu_elect(unsigned mask, int line) {
  collective("elect", mask, nullptr, line, run_nothing);
  return own_lane() == static_cast<unsigned>(__builtin_ctz(mask));
}

void emu_ldmatrix(unsigned* registers, unsigned matrices, int transposed, unsigned address,
                  int line) {
  MatrixFrame frame{address, matrices, transposed, line, {}};
  collective("ldmatrix", full_mask, &frame, line, run_ldmatrix);
  std::memcpy(registers, frame.elements, matrices * sizeof(unsigned));
}

void emu_stmatrix(const unsigned* registers, unsigned matrices, int transposed, unsigned address,
                  int line) {
  MatrixFrame frame{address, matrices, transposed, line, {}};
  std::memcpy(frame.elements, registers, matrices * sizeof(unsigned));
  collective("stmatrix", full_mask, &frame, line, run_stmatrix);
}
}
