"""Places in the ring of stages, as the roles of a kernel count them each for itself."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from moedsl.backends.cuda.emit import prelude_text

if TYPE_CHECKING:
    from pathlib import Path

PRIMITIVES = """
namespace moe {
struct Words { u32 word[4]; };
inline int cluster_rank() { return 0; }
inline void sync_warp() {}
inline void barrier_init(u32, u32) {}
inline void barrier_arrive(u32) {}
inline void barrier_wait(u32, u32) {}
inline void barrier_wait_cluster(u32, u32) {}
inline u32 peer_address(u32 offset, int) { return offset; }
inline void peer_arrive(u32) {}
inline void peer_arrive_release(u32) {}
template <class T> void peer_store(u32, T) {}
}
"""

MAIN = """
// Every place that stages of one length and then of another lead to, and every count from there.
template <int kSlots, moe::u32 kBytes>
int differences() {
    int found = 0;
    for (moe::u32 before = 1; before <= kBytes / 3; ++before) {
        for (moe::u32 bytes = 1; bytes <= kBytes / 3; ++bytes) {
            for (int first = 0; first < 2 * kSlots; ++first) {
                for (int count = 0; count < 3 * kSlots; ++count) {
                    moe::Stages<kSlots, kBytes> one, other;
                    for (int i = 0; i < first; ++i) one.advance(before);
                    other = one;
                    one.skip(count, bytes);
                    for (int i = 0; i < count; ++i) other.advance(bytes);
                    found += one.end != other.end || one.ring.slot != other.ring.slot ||
                             one.ring.parity != other.ring.parity;
                }
            }
        }
    }
    return found;
}

int main() { std::printf("%d %d\\n", differences<5, 12>(), differences<4, 17>()); }
"""


def test_skipping_stages_is_advancing_as_often(tmp_path: Path) -> None:
    shim = __file__.replace("test_stages.py", "plan_shim.h")
    parts = [prelude_text("plan"), prelude_text("walk"), PRIMITIVES, prelude_text("ring")]
    source = tmp_path / "stages.cpp"
    source.write_text("\n".join([f'#include "{shim}"', "#define MOE_UNROLL", *parts, MAIN]))
    program = tmp_path / "stages"
    subprocess.run(["g++", "-std=c++20", "-O1", "-o", str(program), str(source)], check=True)
    answer = subprocess.run([str(program)], capture_output=True, text=True, check=True)
    assert answer.stdout == "0 0\n"
