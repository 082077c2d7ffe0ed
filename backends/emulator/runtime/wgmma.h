// Warpgroup matrix multiplication: 128 threads issue an operation, its sums stay out of reach until
// a wait covers it.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "abi.h"

namespace emu {

struct Block;
struct Thread;

constexpr unsigned warpgroup_size = 128;

// A thread's part of the sums that operations under way add to. `home` are its registers, which
// hold NaN meanwhile; `group` is that of the last operation.
struct Accumulator {
  float* home;
  std::vector<float> sums;
  std::uint32_t group;
  int line;
};

// A thread's registers of a. They hold `held` since keep_left, after as many fences as `fences` says;
// `group` is that of the last operation under way that reads them, issued on `line`, or 0.
struct LeftWords {
  const unsigned* home;
  unsigned held[4];
  std::uint32_t fences;
  std::uint32_t group;
  int line;
};

struct WgmmaOperation {
  EmuWgmma what;
  int line = 0;
  std::uint32_t group = 0;
  unsigned arrived = 0;
  bool done = false;
  struct Lane {
    Thread* thread;
    float* home;
    unsigned a[4];
  };
  std::vector<Lane> lanes;
};

// What a warpgroup has issued. `first` is the number of the front of `operations`.
struct Warpgroup {
  std::deque<WgmmaOperation> operations;
  std::uint64_t first = 0;
  unsigned agents[warpgroup_size / 32] = {};  // by warp: each finishes its part by itself
  std::vector<Thread*> waiting;
};

// A thread's place in its warpgroup's sequence. Groups count from 1; `group` is the open one.
struct WgmmaPosition {
  std::uint64_t issued = 0;
  std::uint32_t group = 1;
  bool fenced = false;
  std::uint32_t fences = 0;
  std::vector<Accumulator> accumulators;
  std::vector<LeftWords> lefts;
};

// Where an operand's element lies, from its descriptor's 64 bits: `mn` is its row or column, `k`
// its depth. In bytes of the shared window.
unsigned wgmma_address(unsigned long long descriptor, bool transposed, unsigned element_bytes,
                       unsigned mn, unsigned k);

}  // namespace emu
