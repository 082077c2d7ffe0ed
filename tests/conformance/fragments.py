"""Cases of tall operands that come from a swizzled stage to registers, as wgmma has them there."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from moedsl.backends.cuda.emission.wgmma import Major
from moedsl.backends.emulator.process import Grid
from tests.conformance.case import Case

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from tests.conformance.case import Random

_CTAS, _TALL, _POSITIONS, _BLOCKS = 2, 2, 192, 2
_STEPS = 4 * _BLOCKS
STAGE_WORDS = _BLOCKS * _POSITIONS * 32
FORMS = tuple(product(Major, (False, True)))
"""How operands lie, and whether they are rounded on the way."""


def cases() -> Iterator[Case]:
    """One for each of FORMS."""
    for major, rounds in FORMS:
        yield fragment_case(major, rounds)


def fragment_case(major: Major, rounds: bool) -> Case:
    """Two blocks of 192 positions each, of which a CTA reads the first or the last 128."""
    block = f"Block<tf32, {_POSITIONS}, {int(major)}>"
    body = f"""
MOE_KERNEL(128, 1) kernel(MOE_ARGUMENTS Arguments a) {{
    const int thread = thread_index(), first = cta_index() * 64;
    for (int i = thread; i < {STAGE_WORDS}; i += 128) {{
        shared_store(i * 4, global_load(a.stage + i));
    }}
    sync_cta();
    using Words64 = Fragments<{block}, {_TALL}, {str(rounds).lower()}>;
    MOE_UNROLL
    for (int step = 0; step < {_STEPS}; ++step) {{
        Words64 read;
        read.load(Words64::place(0, first), step);
        MOE_UNROLL
        for (int i = 0; i < {_TALL * 4}; ++i) {{
            const int at = ((cta_index() * {_STEPS} + step) * 128 + thread) * {_TALL * 4} + i;
            global_store(a.result + at, read.word[i / 4][i % 4]);
        }}
    }}
}}"""
    lies = "by depth" if major is Major.DEPTH else "by outer"
    return Case(
        name=f"fragments {lies}{', rounded' if rounds else ''}",
        body=body,
        grid=Grid(_CTAS, 128, STAGE_WORDS * 4, resident=1),
        vectors=_CTAS * _STEPS * 128 * _TALL * 4,
        inputs=lambda random: {"stage": _stage(random)},
        outputs={"result": ((_CTAS, _STEPS, 128, _TALL, 4), "uint32")},
        parts=("plan", "groups", "fragments"),
    )


def _stage(random: Random) -> NDArray[np.uint32]:
    """Any f32 but infinities and NaN, whose fractions rounding changes: a quarter are ties."""
    exponent = random.integers(0, 254, STAGE_WORDS).astype(np.uint32) << np.uint32(23)
    words = random.words(STAGE_WORDS) & np.uint32(0x807FFFFF) | exponent
    ties = words & np.uint32(0xFFFFE000) | np.uint32(0x1000)
    return np.where(random.words(STAGE_WORDS) % 4 == 0, ties, words)


def expected(case: Case, major: Major, rounds: bool) -> NDArray[np.uint32]:
    """The words of the first launch: PTX ISA, register fragment of A of wgmma.mma_async m64nNk8,
    and the 128-byte swizzle: 16-byte chunks change places by the line's number.
    """
    cta, step, thread, tall, word = np.ogrid[:_CTAS, :_STEPS, :128, :_TALL, :4]
    position = cta * 64 + tall * 64 + thread // 32 * 16 + thread % 32 // 4 + word % 2 * 8
    depth = step * 8 + thread % 4 + word // 2 * 4
    within = depth % 32
    if major is Major.DEPTH:
        line, element = position, within
    else:
        line, element = position // 32 * 32 + within, position % 32
    chunk = element // 4 ^ line % 8
    at = depth // 32 * _POSITIONS * 32 + line * 32 + chunk * 4 + element % 4
    words: NDArray[np.uint32] = case.arrays(0)["stage"][at]
    return (words + np.uint32(0x1000)) & np.uint32(0xFFFFE000) if rounds else words
