// Collectives: what the lanes of one warp do together.
#pragma once

namespace emu {

// Gathers `frame` of every lane of `mask`; the last lane to come runs `execute` on all of them.
// Lanes that come from another line or for another purpose have diverged.
void collective(const char* what, unsigned mask, void* frame, int line,
                void (*execute)(void* const* frames, unsigned mask));

// Fails if other lanes of the current thread's warp are gathering: it goes elsewhere.
void expect_converged(const char* what, int line);

}  // namespace emu
