// Clusters of blocks, their barrier and their shared memory; the register pool of a block.

#include "abi.h"
#include "async.h"
#include "report.h"
#include "scheduler.h"

namespace emu {

Block& cluster_block(unsigned cta, int line) {
  Block& own = *current->block;
  if (cta >= own.cluster->blocks.size()) {
    fail_here("cluster", line,
              text("there is no CTA %u in a cluster of %zu", cta, own.cluster->blocks.size()));
  }
  Block* block = own.cluster->blocks[cta];
  if (!block || !block->live) {
    fail_here("cluster", line, text("reaches CTA %u of its cluster, which has ended", cta));
  }
  return *block;
}

static void release_if_full(Cluster& cluster) {
  if (cluster.arrived != cluster.threads) return;
  cluster.arrived = 0;
  cluster.phase++;
  cluster.completed = cluster.gathering;
  cluster.gathering.clear();
  for (Thread* thread : cluster.waiting) make_ready(*thread);
  cluster.waiting.clear();
}

}  // namespace emu

using namespace emu;

extern "C" {

unsigned emu_cluster_rank() { return current->block->rank; }

unsigned emu_cluster_size() {
  return static_cast<unsigned>(current->block->cluster->blocks.size());
}

void emu_cluster_arrive(int line) {
  Thread& thread = *current;
  Cluster& cluster = *thread.block->cluster;
  if (thread.cluster_phase) {
    fail_here("cluster", line, "arrives at the cluster's barrier twice without a wait between");
  }
  cluster.gathering.resize(cluster.blocks.size());
  for (std::size_t rank = 0; rank < cluster.blocks.size(); rank++) {
    join_from(cluster.gathering[rank], thread, *cluster.blocks[rank]);
  }
  tick(thread);
  thread.cluster_phase = cluster.phase + 1;
  cluster.arrived++;
  release_if_full(cluster);
}

void emu_cluster_wait(int line) {
  Thread& thread = *current;
  Cluster& cluster = *thread.block->cluster;
  if (!thread.cluster_phase) {
    fail_here("cluster", line, "waits for the cluster's barrier without having arrived");
  }
  while (cluster.phase < thread.cluster_phase) {
    cluster.waiting.push_back(&thread);
    suspend({"the cluster's barrier", line, 0});
  }
  thread.cluster_phase = 0;
  learn(thread, cluster.completed[thread.block->rank]);
}

void emu_cluster_read(unsigned cta, unsigned address, void* to, unsigned bytes, int line) {
  read_shared(cluster_block(cta, line), address, to, bytes, line);
}

void emu_cluster_write(unsigned cta, unsigned address, const void* from, unsigned bytes,
                       int line) {
  write_shared(cluster_block(cta, line), address, from, bytes, line);
}

void emu_set_registers(unsigned count, int increase, int line) {
  Thread& thread = *current;
  Block& block = *thread.block;
  if (count % 8 || count < 24 || count > 256) {
    fail_here("registers", line, text("setmaxnreg takes multiples of 8 from 24 to 256, not %u", count));
  }
  if (increase ? count < thread.registers : count > thread.registers) {
    fail_here("registers", line,
              text("setmaxnreg.%s to %u from %u", increase ? "inc" : "dec", count,
                   thread.registers));
  }
  while (increase && block.free_registers < count - thread.registers) {
    block.register_waiters.push_back(&thread);
    suspend({"setmaxnreg to", line, count});
  }
  block.free_registers += thread.registers;
  block.free_registers -= count;
  thread.registers = count;
  for (Thread* waiter : block.register_waiters) make_ready(*waiter);
  block.register_waiters.clear();
}
}
