// Launches that overlap.
#pragma once

#include "words.h"

namespace moe {

MOE_DEVICE void wait_for_previous_launch() { emu_launch_wait(); }

// Emulated launches come one after another.
MOE_DEVICE void allow_next_launch() {}

}  // namespace moe
