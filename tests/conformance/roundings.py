"""Cases of the copy engine's rounding: f32 of all kinds come to shared memory as tf32."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from moedsl.backends.cuda.tensor_map import TensorMap, TensorSwizzle
from moedsl.backends.emulator.process import Grid
from moedsl.ir.core import DType
from tests.conformance.case import Case

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from tests.conformance.case import Random

_BLOCKS, _ROUNDS, _BOX = 32, 4, (32, 16)
_WORDS = _BOX[0] * _BOX[1]
ELEMENTS = _BLOCKS * _ROUNDS * _WORDS

EXPONENTS = {
    "normal numbers": (1, 252),
    "small numbers": (0, 0),
    "large numbers": (253, 254),
    "infinities and nan": (255, 255),
}
"""The least and the most, biased: those of subnormals, and what may round to infinity, apart."""


def cases() -> Iterator[Case]:
    """One for each of EXPONENTS: what an H200 does with one says nothing of the others."""
    yield from map(rounding_case, EXPONENTS)


def rounding_case(kind: str) -> Case:
    """Boxes of a tensor f32[…, 32] as they lie in shared memory, swizzled."""
    rows = ELEMENTS // _BOX[0]
    description = TensorMap(
        DType.F32, (_BOX[0], rows), (4 * _BOX[0],), _BOX, (), TensorSwizzle.B128, tf32=True
    )
    body = f"""
MOE_KERNEL(128, 1) kernel(MOE_ARGUMENTS Arguments a) {{
    if (thread_index() == 0) {{
        barrier_init(0, 1);
        fence_barrier_init();
    }}
    sync_cta();
    MOE_ROLL
    for (int round = 0; round < {_ROUNDS}; ++round) {{
        const int number = cta_index() * {_ROUNDS} + round;
        if (thread_index() == 0) {{
            barrier_arrive_expect(0, {description.box_bytes});
            tensor_load(1024, a.map, Box<2>{{{{0, number * {_BOX[1]}}}}}, 0);
        }}
        barrier_wait(0, round & 1);
        for (int i = thread_index(); i < {_WORDS}; i += 128) {{
            global_store(a.result + number * {_WORDS} + i, shared_load<u32>(1024 + i * 4));
        }}
        sync_cta();
    }}
}}"""
    return Case(
        name=f"tensor_load_tf32 {kind}",
        body=body,
        grid=Grid(_BLOCKS, 128, 1024 + description.box_bytes),
        vectors=ELEMENTS,
        inputs=lambda random: {"tensor": _words(random, *EXPONENTS[kind])},
        outputs={"result": ((ELEMENTS,), "uint32")},
        maps={"map": ("tensor", description)},
    )


def _words(random: Random, least: int, most: int) -> NDArray[np.uint32]:
    """Any fractions, a quarter of them half way between two tf32, a quarter next to that."""
    exponent = random.integers(least, most, ELEMENTS).astype(np.uint32) << np.uint32(23)
    words = random.words(ELEMENTS) & np.uint32(0x807FFFFF) | exponent
    choice = random.words(ELEMENTS) % 4
    half = words & np.uint32(0xFFFFE000) | np.uint32(0x1000)
    near = half + random.integers(-1, 1, ELEMENTS).astype(np.uint32)
    return np.select([choice == 0, choice == 1], [half, near], words).astype(np.uint32)


def expected(case: Case, launch: int) -> NDArray[np.uint32]:
    """The result of a launch: finite numbers go to the nearest tf32, ties to even, infinities stay
    what they are, and every NaN becomes the same.
    """
    words = case.arrays(launch)["tensor"]
    finite = np.isfinite(words.view(np.float32))
    values = np.where(finite, words.view(np.float32), 0).astype(np.float64)
    _, exponent = np.frexp(values)
    # The last bit of 11, or of the smallest normal number's.
    unit = np.ldexp(1.0, np.maximum(exponent, -125) - 11)
    with np.errstate(over="ignore"):
        nearest = (np.rint(values / unit) * unit).astype(np.float32)
    others = np.where(np.isinf(words.view(np.float32)), words, np.uint32(0x7FFFE000))
    rounded = np.where(finite, nearest.view(np.uint32), others)
    # 16-byte chunks of a row of 128 bytes change places by the row's number.
    chunks = rounded.reshape(-1, 8, 8, 4)
    place = np.arange(8)[:, None] ^ np.arange(8)
    return np.take_along_axis(chunks, place[None, :, :, None], axis=2).reshape(-1)
