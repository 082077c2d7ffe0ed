// Which emulated thread runs next, and what a block and its threads are made of.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "abi.h"
#include "async.h"
#include "fiber.h"
#include "order.h"
#include "shared.h"
#include "wgmma.h"

namespace emu {

constexpr unsigned warp_size = 32, named_barriers = 16;

// FIFO runs threads in step, LIFO one as far as it goes, RANDOM any.
enum class Order { fifo, lifo, random };
// When the data of an asynchronous operation arrives: at its issue or not before it is waited for.
enum class Arrival { earliest, latest, random };

struct Policy {
  Order order = Order::fifo;
  Arrival arrival = Arrival::latest;
  std::uint64_t seed = 1;
};
extern Policy policy;

struct Block;

enum class State { ready, waiting, done };

// What a thread waits for; shown as "`what` (`have` of `need`)".
struct Waiting {
  const char* what = "";
  int line = 0;
  unsigned id = 0;
};

struct Thread {
  EmuThread view;  // first: emu_self points here
  Context context;
  unsigned char* stack = nullptr;
  Block* block = nullptr;
  unsigned index = 0;
  const char* role = "";  // what the kernel says it is, with a number if it has one
  int role_number = -1;
  State state = State::ready;
  Waiting waiting;
  CopyGroups copies;
  BulkGroups bulk;
  WgmmaPosition wgmma;
  unsigned registers = 0;
  bool alone = false;  // whether it has waited for the launch before this one
  std::uint32_t cluster_phase = 0;  // of the cluster's barrier, to wait for; 0 if not arrived
  std::unique_ptr<ThreadTime> time;
};

// The collective that lanes of a warp are gathering for. `frames` are theirs, on their stacks.
struct Gathering {
  const char* what = nullptr;
  int line = 0;
  unsigned mask = 0, arrived = 0;
  void* frames[warp_size] = {};
};

// Masks of lanes: those that have ended, and those that wait at a barrier.
struct Warp {
  Gathering gathering;
  unsigned exited = 0, at_barrier = 0;
};

// A barrier of a block. `lines` remembers where each warp came from: bar is a warp's instruction.
// `arrivals` are those of this use of it, `before` those of the last.
struct Barrier {
  unsigned expected = 0, arrived = 0;
  std::vector<Event> arrivals, before;
  std::vector<Thread*> waiting;
  std::vector<unsigned> lanes;
  std::vector<int> lines;
  Time meeting;
};

// Blocks that run together. `gathering` and `completed` hold a time for each of them.
struct Cluster {
  std::vector<Block*> blocks;  // by rank; null once a block has ended
  unsigned threads = 0, arrived = 0;
  std::uint32_t phase = 0;
  std::vector<Time> gathering, completed;
  std::vector<Thread*> waiting;
};

struct Block {
  unsigned index = 0, live = 0, rank = 0;
  std::shared_ptr<Cluster> cluster;
  std::vector<std::string> agents;  // behind those of threads and of their copies
  std::map<unsigned, MBarrier> mbarriers;  // by offset
  std::vector<Warpgroup> warpgroups;
  unsigned free_registers = 0;
  std::vector<Thread*> register_waiters;
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  Barrier barriers[named_barriers];
  SharedMemory shared;
};

extern Thread* current;
std::vector<std::unique_ptr<Block>>& resident_blocks();

// "consumer 1", empty if the kernel has not said
std::string role_of(const Thread& thread);
// "consumer 1, thread 37 of block 2 (warp 1, lane 5)"
std::string describe(const Thread& thread);

// Lets the others run until somebody calls make_ready on the current thread.
void suspend(const Waiting& waiting);
void make_ready(Thread& thread);
// A point where the RANDOM order may prefer another thread.
void maybe_yield();
unsigned random_below(unsigned bound);
// Whether an operation issued now arrives at once.
bool arrives_at_once();

struct Launch {
  unsigned blocks = 1, resident = 1, threads = 32, shared_bytes = 0, cluster = 1,
           sharing = 1;
  bool overlaps = false;  // whether it may start before the launch before it has ended
  void (*entry)(const void* arguments) = nullptr;
  const void* arguments = nullptr;
};

extern Launch launch;

// `results` counts what only a launch that gets on makes more of: writes to buffers, ended blocks.
struct Statistics {
  std::uint64_t switches = 0, results = 0;
};
extern Statistics statistics;

// Runs every block to its end; at most `resident` of them exist at a time, started in order.
void run(const Launch& launch);

// Where every thread that is not done stands, a note for each place.
struct Note;
std::vector<Note> places();

}  // namespace emu
