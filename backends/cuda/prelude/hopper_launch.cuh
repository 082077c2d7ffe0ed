// Launches that overlap: one may start while the one before it in its stream is about to end.

namespace moe {

// Blocks until the launch before this one has ended, if this one was started early. What either
// writes the other may touch, so a thread has nothing to do with global memory before.
MOE_DEVICE void wait_for_previous_launch() {
    asm volatile("griddepcontrol.wait;" ::: "memory");
}

// The next launch may start as soon as all CTAs of this one have said so or ended.
MOE_DEVICE void allow_next_launch() {
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}

}  // namespace moe
