// What an emulated kernel and the runtime agree on. Kernels include this header, so it takes
// nothing from the standard library: that keeps their compilation short.
#pragma once

extern "C" {

struct EmuIndex {
  unsigned x, y, z;
};

// The emulated thread that is running. `block` and `grid` as in blockIdx and gridDim.
struct EmuThread {
  EmuIndex thread, block, block_size, grid;
  unsigned shared_bytes;
};
extern EmuThread* emu_self;

// Shared memory is addressed from EMU_SHARED_BASE on, as the device's window does not start at 0
// either. Every access says how many bytes it moves and on which line of the unit it stands.
enum : unsigned { EMU_SHARED_BASE = 1024 };

void emu_shared_read(unsigned address, void* to, unsigned bytes, int line);
void emu_shared_write(unsigned address, const void* from, unsigned bytes, int line);
unsigned emu_shared_size();

void emu_global_read(const void* from, void* to, unsigned bytes, int line);
void emu_global_write(void* to, const void* from, unsigned bytes, int line);

// Memory order of an operation on a flag in global memory.
enum EmuOrder { EMU_RELAXED, EMU_ACQUIRE, EMU_RELEASE, EMU_ACQ_REL };
enum EmuAtomic { EMU_ADD_I32, EMU_ADD_F32, EMU_MAX_I32, EMU_EXCHANGE_I32 };

// Applies `operation` to the 4 bytes at `at`; returns the old bits. `value` are bits, too.
unsigned emu_atomic(void* at, EmuAtomic operation, unsigned value, EmuOrder order, int line);
int emu_flag_load(const int* at, EmuOrder order, int line);
void emu_flag_store(int* at, int value, EmuOrder order, int line);
// Blocks until *at == value, then acquires.
void emu_flag_wait(const int* at, int value, int line);
void emu_fence(int line);

// Copies up to 16 bytes to shared memory; the bytes behind `source_bytes` become zero. Finished
// only once emu_copy_wait returns in the issuing thread.
void emu_copy_async(unsigned to, const void* from, unsigned bytes, unsigned source_bytes, int line);
void emu_copy_commit(int line);
void emu_copy_wait(unsigned pending_groups, int line);
// An mbarrier counts one arrival once all copies of the thread so far have landed.
void emu_copy_arrive(unsigned barrier, int line);

// Barriers of a block: `threads` 0 stands for the whole block.
void emu_barrier_sync(unsigned barrier, unsigned threads, int line);
void emu_barrier_arrive(unsigned barrier, unsigned threads, int line);

// Warp collectives. Every lane of the warp must take part.
enum EmuShuffle { EMU_SHUFFLE_INDEX, EMU_SHUFFLE_UP, EMU_SHUFFLE_DOWN, EMU_SHUFFLE_XOR };
enum EmuVote { EMU_VOTE_ANY, EMU_VOTE_ALL, EMU_VOTE_BALLOT };
// What cuTensorMapEncodeTiled is told. Strides are in bytes, of dimensions 1 and up; dimension 0 is
// innermost. Swizzles are spans in bytes: 0, 32, 64 or 128.
struct EmuTensorMap {
  unsigned long long address;
  unsigned long long strides[4];
  unsigned extents[5];
  unsigned short box[5];
  unsigned char steps[5];
  unsigned char rank, element_bytes, swizzle, fill_nan, tf32;
};

enum EmuMma { EMU_MMA_BF16, EMU_MMA_F16, EMU_MMA_TF32 };

void emu_warp_sync(unsigned mask, int line);
unsigned emu_shuffle(unsigned mask, unsigned value, EmuShuffle mode, unsigned operand, int line);
unsigned emu_vote(unsigned mask, int predicate, EmuVote mode, int line);
// 1 in the lowest lane of `mask`, 0 in the others.
int emu_elect(unsigned mask, int line);
// `matrices` (1, 2 or 4) 8x8 matrices of 2-byte elements; every lane brings the address of a row.
void emu_ldmatrix(unsigned* registers, unsigned matrices, int transposed, unsigned address,
                  int line);
void emu_stmatrix(const unsigned* registers, unsigned matrices, int transposed, unsigned address,
                  int line);
// d += a b on a 16x8 tile, k = 16 (bf16, f16) or 8 (tf32); fragments as the PTX ISA lays them out.
void emu_mma(EmuMma kind, float* d, const unsigned* a, const unsigned* b, int line);

// mbarriers: 8 bytes of shared memory. `cta` is a rank of the cluster.
void emu_mbarrier_init(unsigned address, unsigned count, int line);
void emu_mbarrier_expect(unsigned address, unsigned bytes, int line);
void emu_mbarrier_arrive(unsigned address, unsigned cta, int line);
// Blocks until the phase of this parity is complete.
void emu_mbarrier_wait(unsigned address, unsigned parity, int line);
void emu_fence_mbarrier_init(int line);
void emu_fence_proxy_async(int line);

// Bulk copies. Loads count their bytes off an mbarrier, stores belong to groups of their thread.
// `map` is an EmuTensorMap, `ctas` the mask of ranks that receive, 0 for the own block only.
void emu_tensor_load(unsigned to, const void* map, unsigned barrier, const int* at, unsigned rank,
                     unsigned ctas, int line);
void emu_tensor_store(const void* map, unsigned from, const int* at, unsigned rank, int line);
void emu_bulk_load(unsigned to, const void* from, unsigned bytes, unsigned barrier, int line);
void emu_bulk_store(void* to, unsigned from, unsigned bytes, int line);
void emu_bulk_commit(int line);
// `read` waits only until shared memory has been read.
void emu_bulk_wait(unsigned pending_groups, int read, int line);

// wgmma.mma_async.m64nNk16 (bf16, f16) and k8 (tf32): d = a b + (accumulate ? d : 0). Without
// `a_registers` a comes from shared memory; operands are given by descriptors.
struct EmuWgmma {
  EmuMma kind;
  unsigned n;
  int accumulate, a_transposed, b_transposed;
  unsigned long long a, b;
  const unsigned* a_registers;
};
void emu_wgmma(const EmuWgmma* operation, float* d, int line);
// The 4 registers of `left` hold a for the operations behind the next fence.
void emu_wgmma_keep_left(const unsigned* left, int line);
void emu_wgmma_fence(int line);
void emu_wgmma_commit(int line);
void emu_wgmma_wait(unsigned pending_groups, int line);

// Clusters of blocks.
unsigned emu_cluster_rank();
unsigned emu_cluster_size();
void emu_cluster_arrive(int line);
void emu_cluster_wait(int line);
// Reads and writes in the shared memory of another block of the cluster.
void emu_cluster_read(unsigned cta, unsigned address, void* to, unsigned bytes, int line);
void emu_cluster_write(unsigned cta, unsigned address, const void* from, unsigned bytes, int line);

// setmaxnreg: gives registers back, or takes more and blocks until there are some.
void emu_set_registers(unsigned count, int increase, int line);

// What reports call the running thread from here on: `name`, which must last, and `number` unless
// that is negative.
void emu_role(const char* name, int number);

// The running thread may touch global memory from here on, if launches overlap.
void emu_launch_wait();

// Stops the launch: a check inside the kernel's own code failed.
[[noreturn]] void emu_fail(const char* kind, const char* message, int line);
}
