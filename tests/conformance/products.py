"""Cases of wgmma: every number of columns, all types, both majors of both operands, registers.

Shared memory holds random numbers throughout and descriptors are random, too, within the rules:
which element meets which is then what the sums tell.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from moedsl.backends.cuda.emission.wgmma import Major, WgmmaShape, WgmmaType
from moedsl.backends.emulator.process import Grid
from tests.conformance.case import Case, Random
from tests.conformance.portable import EXTREMES, FRACTIONS, INTEGERS, operand

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from tests.conformance.case import Arrays

IMAGE_BYTES = 65536
_WIDTHS = (16, 128, 64, 32)
"""Bytes of a row, by the descriptor's number of the swizzle."""


def cases() -> Iterator[Case]:
    """All of them."""
    for kind in WgmmaType:
        for columns in range(8, 257, 8):
            yield _case(kind, columns, INTEGERS)
        yield _case(kind, 64, FRACTIONS)
        yield _case(kind, 64, EXTREMES)


def _variants(kind: WgmmaType, columns: int) -> list[WgmmaShape]:
    lefts: tuple[Major | None, ...] = (Major.DEPTH, Major.OUTER, None)
    if kind is WgmmaType.TF32:
        return [WgmmaShape(kind, columns, left) for left in (Major.DEPTH, None)]
    return [WgmmaShape(kind, columns, left, right) for left, right in product(lefts, Major)]


def _case(kind: WgmmaType, columns: int, operands: str) -> Case:
    variants = _variants(kind, columns)
    rounds = 24 // len(variants) * 2  # of every variant; more where there are fewer
    count = columns // 2
    vectors = rounds * len(variants)

    def inputs(random: Random) -> Arrays:
        elements = IMAGE_BYTES // (4 if kind is WgmmaType.TF32 else 2)
        per_thread = 8 * (1 if kind is WgmmaType.TF32 else 2)
        image = operand(random, kind.value, operands, elements)
        words = operand(random, kind.value, operands, vectors, 128, per_thread)
        descriptors = np.concatenate([_descriptors(random, v, rounds) for v in variants])
        return {"image": image, "words": words, "descriptor": descriptors}

    return Case(
        name=f"wgmma {kind.value} n{columns} {operands}",
        body=_body(variants, count, rounds),
        grid=Grid(len(variants), 128, IMAGE_BYTES, resident=1),
        vectors=2 * vectors,
        inputs=inputs,
        outputs={"result": ((vectors, 128, count), "float32")},
        shapes=tuple(variants),
        launches=2,
    )


def _body(variants: list[WgmmaShape], count: int, rounds: int) -> str:
    """Two products in a row by each CTA, which has a variant: ``count`` sums a thread."""
    arms = "\n".join(_arm(i, variant) for i, variant in enumerate(variants))
    return f"""
template <class Left, class Kind>
MOE_DEVICE void multiply(float (&sum)[{count}], const Left& first, const Left& second, u64 right,
                         u64 other, Kind kind) {{
    group_fence();
    group_multiply(sum, first, right, kind);
    group_multiply_add(sum, second, other, kind);
    group_commit();
    group_wait<0>(sum);
}}

MOE_KERNEL(128, 1) kernel(MOE_ARGUMENTS Arguments a) {{
    const int thread = thread_index();
    const auto image = reinterpret_cast<const Words*>(a.image);
    MOE_ROLL
    for (int i = thread; i < {IMAGE_BYTES // 16}; i += 128) {{
        shared_store(i * 16, global_load(image + i));
    }}
    fence_async();
    sync_cta();
    MOE_ROLL
    for (int round = 0; round < {rounds}; ++round) {{
        const int vector = cta_index() * {rounds} + round;
        // Descriptors are made for offset 0.
        const u64 base = shared_address(0) >> 4;
        u64 matrix[4];
        for (int i = 0; i < 4; ++i) {{
            const u32 low = global_load(a.descriptor + vector * 8 + 2 * i);
            const u32 high = global_load(a.descriptor + vector * 8 + 2 * i + 1);
            matrix[i] = (static_cast<u64>(high) << 32 | low) + base;
        }}
        u32 words[4], others[4];
        for (int i = 0; i < 4; ++i) {{
            words[i] = global_load(a.words + (vector * 128 + thread) * 8 + i);
            others[i] = global_load(a.words + (vector * 128 + thread) * 8 + 4 + i);
        }}
        keep_left(words);
        keep_left(others);
        float sum[{count}];
        switch (cta_index()) {{
{arms}
        }}
        for (int i = 0; i < {count}; ++i) {{
            global_store(a.result + (vector * 128 + thread) * {count} + i, sum[i]);
        }}
    }}
}}"""


def _arm(number: int, variant: WgmmaShape) -> str:
    lefts = "words, others" if variant.left is None else "matrix[0], matrix[1]"
    tag = f"Product<{variant.type.value}, {int(variant.left or 0)}, {int(variant.right)}>{{}}"
    return f"""\
            case {number}:
                multiply(sum, {lefts}, matrix[2], matrix[3], {tag});
                break;"""


def _descriptors(random: Random, variant: WgmmaShape, rounds: int) -> NDArray[np.uint32]:
    """Two descriptors of the left and two of the right operand for every round."""
    element = 4 if variant.type is WgmmaType.TF32 else 2
    result = np.zeros((rounds, 4, 2), np.uint32)
    for number, (outer, rows) in enumerate(
        ((variant.left, 64), (variant.left, 64), *((variant.right, variant.columns),) * 2)
    ):
        for i in range(rounds):
            swizzle = (i + number) % 4
            start, leading, stride = _place(random, swizzle, outer is Major.OUTER, rows, element)
            result[i, number, 0] = start >> 4 | leading >> 4 << 16
            result[i, number, 1] = stride >> 4 | swizzle << 30
    return result


def _place(
    random: Random, swizzle: int, by_outer: bool, rows: int, element: int
) -> tuple[int, int, int]:
    """Start, leading and stride, in bytes, that stay within the image."""
    width = _WIDTHS[swizzle]
    pattern = 8 * width
    unit = 16 if swizzle == 0 else pattern

    def pick(most: int, step: int) -> int:
        return int(random.integers(0, max(most // step, 0), 1)[0]) * step

    if by_outer:
        # Columns of chunks: rows of the operand; two groups of 8 in depth.
        columns = -(-rows * element // width)
        leading = pick(IMAGE_BYTES // 4 // (columns + 1), unit)
        stride = pick(IMAGE_BYTES // 4, unit)
        if swizzle == 0:
            leading, stride = stride, leading
        reach = columns * max(leading, stride) if swizzle == 0 else columns * leading + stride
        reach = leading + columns * stride if swizzle == 0 else reach
        return pick(IMAGE_BYTES - reach - pattern, unit), leading, stride
    groups = rows // 8
    stride = pick(IMAGE_BYTES // 2 // (groups + 1), unit)
    leading = pick(IMAGE_BYTES // 4, 16)
    reach = groups * stride + (leading if swizzle == 0 else 0)
    start = pick(IMAGE_BYTES - reach - 2 * pattern, unit)
    return start + (pick(width - 32, 32) if swizzle else 0), leading, stride
