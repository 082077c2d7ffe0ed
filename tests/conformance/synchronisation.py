"""Cases of what threads and CTAs meet at: mbarriers, numbered barriers, clusters, flags."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from moedsl.backends.emulator.process import Grid, Use
from tests.conformance.case import Case, Random

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conformance.case import Arrays

_ROUNDS = 64
_BLOCKS = 160
_VECTORS = _ROUNDS * _BLOCKS


def cases() -> Iterator[Case]:
    """All of them."""
    yield _ring()
    yield _named()
    for size in (2, 4):
        yield _cluster(size)
    yield _flags()
    yield _elect()


def _ring() -> Case:
    # Warp 0 hands words to warp 1 through `stages` slots; so many lanes arrive at each barrier.
    body = f"""
MOE_KERNEL(64, 1) kernel(MOE_ARGUMENTS Arguments a) {{
    const int lane = lane_index(), stages = global_load(a.stages + cta_index());
    const int producers = global_load(a.producers + cta_index());
    const int consumers = global_load(a.consumers + cta_index());
    if (thread_index() == 0) {{
        for (int i = 0; i < stages; ++i) {{
            barrier_init(i * 16, producers);
            barrier_init(i * 16 + 8, consumers);
        }}
        fence_barrier_init();
    }}
    sync_cta();
    MOE_ROLL
    for (int round = 0; round < {_ROUNDS}; ++round) {{
        const int stage = round % stages, parity = round / stages & 1;
        const u32 full = stage * 16, empty = full + 8, slot = 128 + stage * 128 + lane * 4;
        const int place = (cta_index() * {_ROUNDS} + round) * 32 + lane;
        if (warp_index() == 0) {{
            barrier_wait(empty, parity ^ 1);
            shared_store(slot, global_load(a.value + place));
            sync_warp();
            if (lane < producers) barrier_arrive(full);
        }} else {{
            barrier_wait(full, parity);
            global_store(a.result + place, shared_load<u32>(slot ^ 4));
            sync_warp();
            if (lane < consumers) barrier_arrive(empty);
        }}
    }}
}}"""

    def inputs(random: Random) -> Arrays:
        return {
            "value": random.words(_VECTORS, 32),
            "stages": random.integers(1, 5, _BLOCKS),
            "producers": random.integers(1, 32, _BLOCKS),
            "consumers": random.integers(1, 32, _BLOCKS),
        }

    return Case(
        name="mbarrier phases",
        body=body,
        grid=Grid(_BLOCKS, 64, 1024),
        vectors=_VECTORS,
        inputs=inputs,
        outputs={"result": ((_VECTORS, 32), "uint32")},
    )


def _named() -> Case:
    body = f"""
MOE_KERNEL(64, 1) kernel(MOE_ARGUMENTS Arguments a) {{
    const int lane = lane_index();
    MOE_ROLL
    for (int round = 0; round < {_ROUNDS}; ++round) {{
        const int stage = round % 2;
        const u32 slot = stage * 128 + lane * 4;
        const int place = (cta_index() * {_ROUNDS} + round) * 32 + lane;
        if (warp_index() == 0) {{
            if (round >= 2) named_sync(3 + stage, 64);
            shared_store(slot, global_load(a.value + place));
            named_arrive(1 + stage, 64);
        }} else {{
            named_sync(1 + stage, 64);
            global_store(a.result + place, shared_load<u32>(slot ^ 4));
            if (round + 2 < {_ROUNDS}) named_arrive(3 + stage, 64);
        }}
    }}
}}"""
    return Case(
        name="barrier named",
        body=body,
        grid=Grid(_BLOCKS, 64, 256),
        vectors=_VECTORS,
        inputs=lambda random: {"value": random.words(_VECTORS, 32)},
        outputs={"result": ((_VECTORS, 32), "uint32")},
    )


def _cluster(size: int) -> Case:
    # Every CTA stores into the next one's memory, which answers by arriving back.
    body = f"""
MOE_KERNEL(32, 1) kernel(MOE_ARGUMENTS Arguments a) {{
    const int lane = lane_index(), rank = cluster_rank();
    const int next = (rank + 1) % {size}, before = (rank + {size - 1}) % {size};
    constexpr u32 full = 0, empty = 8, words = 128, word = 1024, seen = 2048;
    if (lane == 0) {{
        barrier_init(full, 32);
        barrier_init(empty, 32);
        fence_barrier_init();
    }}
    shared_store(seen + lane * 4, static_cast<u32>(rank * 1000 + cluster_size()));
    sync_cluster();
    MOE_ROLL
    for (int round = 0; round < {_ROUNDS}; ++round) {{
        const int place = (cta_index() * {_ROUNDS} + round) * 32 + lane;
        barrier_wait_cluster(empty, (round & 1) ^ 1);
        const auto value = reinterpret_cast<const Words*>(a.value);
        const Words own = global_load(value + place);
        peer_store(peer_address(words + lane * 16, next), own);
        peer_store(peer_address(word + lane * 4, next), own.word[0] ^ own.word[3]);
        peer_arrive_release(peer_address(full, next));
        barrier_wait_cluster(full, round & 1);
        Words got = shared_load<Words>(words + (lane ^ 1) * 16);
        got.word[1] += shared_load<u32>(word + (lane ^ 1) * 4);
        got.word[2] += peer_load(peer_address(seen + lane * 4, before));
        sync_warp();
        peer_arrive(peer_address(empty, before));
        global_store(reinterpret_cast<Words*>(a.result) + place, got);
    }}
    sync_cluster();
}}"""
    return Case(
        name=f"cluster of {size}",
        body=body,
        grid=Grid(_BLOCKS, 32, 4096, resident=size, cluster=size),
        vectors=_VECTORS,
        inputs=lambda random: {"value": random.words(_VECTORS, 32, 4)},
        outputs={"result": ((_VECTORS, 32, 4), "uint32")},
    )


def _flags() -> Case:
    # A word goes from CTA to CTA; each adds its own. Both ways of raising a flag take turns.
    blocks, rounds = 32, 320
    body = f"""
MOE_KERNEL(32, 1) kernel(MOE_ARGUMENTS Arguments a) {{
    const int lane = lane_index(), next = (cta_index() + 1) % {blocks};
    MOE_ROLL
    for (int round = 0; round < {rounds}; ++round) {{
        const int place = (cta_index() * {rounds} + round) * 32 + lane;
        u32 word = global_load(a.value + place);
        if (cta_index() > 0 || round > 0) {{
            if (lane == 0) flag_wait(a.flag + cta_index(), cta_index() > 0 ? round + 1 : round);
            sync_warp();
            const int from = cta_index() > 0 ? cta_index() - 1 : {blocks - 1};
            const int step = cta_index() > 0 ? round : round - 1;
            word += global_load(a.result + (from * {rounds} + step) * 32 + lane);
        }}
        global_store(a.result + place, word);
        sync_warp();
        if (lane == 0) {{
            if (round % 3 == 0) {{
                flag_store_release(a.flag + next, round + 1);
            }} else if (round % 3 == 1) {{
                flag_add_release(a.flag + next, 1);
            }} else {{
                flag_add(a.flag + next, 1);
            }}
        }}
    }}
}}"""
    return Case(
        name="flags acquire and release",
        body=body,
        grid=Grid(blocks, 32, resident=blocks),
        vectors=blocks * rounds,
        inputs=lambda random: {"value": random.words(blocks * rounds, 32)},
        outputs={"flag": ((blocks,), "int32"), "result": ((blocks * rounds, 32), "uint32")},
        use=Use.STATE,
    )


def _elect() -> Case:
    body = f"""
MOE_KERNEL(32, 1) kernel(MOE_ARGUMENTS Arguments a) {{
    MOE_ROLL
    for (int round = 0; round < {_ROUNDS}; ++round) {{
        const int place = (cta_index() * {_ROUNDS} + round) * 32 + lane_index();
        global_store(a.result + place, elect() ? 1 + lane_index() : 0);
    }}
    allow_next_launch();
    wait_for_previous_launch();
}}"""
    return Case(
        name="elect one lane",
        body=body,
        grid=Grid(_BLOCKS, 32),
        vectors=_VECTORS,
        inputs=lambda _: {"unused": np.zeros(1, np.int32)},
        outputs={"result": ((_VECTORS, 32), "int32")},
    )
