"""Cases of what every target's kernels use: matrices, conversions, copies, shuffles, atomics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from moedsl.backends.emulator.process import Grid, Use
from tests.conformance.case import Case, Random

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from tests.conformance.case import Arrays

VECTORS = 10_240
_BLOCKS = 64
_ROUNDS = VECTORS // _BLOCKS


def cases() -> Iterator[Case]:
    """All of them."""
    for matrices in (2, 4):
        for transposed in (False, True):
            yield _ldmatrix(matrices, transposed)
    for matrices in (1, 2, 4):
        for transposed in (False, True):
            yield _stmatrix(matrices, transposed)
    for kind in ("bf16", "f16", "tf32"):
        for operands in (INTEGERS, FRACTIONS, EXTREMES):
            yield _mma(kind, operands)
    yield _cp_async()
    yield _convert()
    yield _widen()
    yield _shuffle()
    yield _atomics()


def _rounds(body: str) -> str:
    return f"""
MOE_KERNEL(32, 1) kernel(MOE_ARGUMENTS Arguments a) {{
    const int lane = lane_index();
    MOE_ROLL
    for (int round = 0; round < {_ROUNDS}; ++round) {{
        const int vector = cta_index() * {_ROUNDS} + round, place = vector * 32 + lane;
{body}
        sync_warp();
    }}
}}"""


def _row_orders(random: Random) -> NDArray[np.int32]:
    """For every vector, the 32 rows in random order."""
    return np.argsort(random.words(VECTORS, 32), axis=1, kind="stable").astype(np.int32)


def _ldmatrix(matrices: int, transposed: bool) -> Case:
    suffix = "_transposed" if transposed else ""
    body = f"""
        const auto source = reinterpret_cast<const Words*>(a.data);
        shared_store(lane * 16, global_load(source + place));
        sync_warp();
        u32 result[{matrices}];
        load_matrices{suffix}(result, 16 * global_load(a.rows + place));
        for (int i = 0; i < {matrices}; ++i) {{
            global_store(a.result + place * {matrices} + i, result[i]);
        }}"""

    def inputs(random: Random) -> Arrays:
        return {"data": random.words(VECTORS, 32, 4), "rows": _row_orders(random)}

    return Case(
        name=f"ldmatrix x{matrices}{suffix.replace('_', ' ')}",
        body=_rounds(body),
        grid=Grid(_BLOCKS, 32, 512),
        vectors=VECTORS,
        inputs=inputs,
        outputs={"result": ((VECTORS, 32, matrices), "uint32")},
    )


def _stmatrix(matrices: int, transposed: bool) -> Case:
    suffix = "_transposed" if transposed else ""
    body = f"""
        shared_store(lane * 16, Words{{}});
        sync_warp();
        u32 value[{matrices}];
        for (int i = 0; i < {matrices}; ++i) {{
            value[i] = global_load(a.value + place * {matrices} + i);
        }}
        store_matrices{suffix}(16 * global_load(a.rows + place), value);
        sync_warp();
        const auto result = reinterpret_cast<Words*>(a.result);
        global_store(result + place, shared_load<Words>(lane * 16));"""

    def inputs(random: Random) -> Arrays:
        return {"value": random.words(VECTORS, 32, matrices), "rows": _row_orders(random)}

    return Case(
        name=f"stmatrix x{matrices}{suffix.replace('_', ' ')}",
        body=_rounds(body),
        grid=Grid(_BLOCKS, 32, 512),
        vectors=VECTORS,
        inputs=inputs,
        outputs={"result": ((VECTORS, 32, 4), "uint32")},
    )


def packed(values: NDArray[Any], kind: str) -> NDArray[np.uint32]:
    """Words of a matrix operand; the last dimension shrinks by the elements of a word."""
    if kind == "tf32":
        return np.ascontiguousarray(values, np.float32).view(np.uint32)
    if kind == "f16":
        halves = np.ascontiguousarray(values, np.float16).view(np.uint16)
    else:
        halves = (np.ascontiguousarray(values, np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return np.ascontiguousarray(halves).view(np.uint32)


INTEGERS, FRACTIONS, EXTREMES = "integers", "fractions", "extremes"
"""Operands: sums that are exact; sums that are rounded; zeros, infinities and their neighbours."""


def operand(random: Random, kind: str, operands: str, *shape: int) -> NDArray[np.uint32]:
    """Words of random elements; the bits that tf32 does not have are random, too."""
    match operands:
        case "integers":
            words = packed(random.integers(-9, 9, *shape), kind)
        case "fractions":
            words = packed(fractions(random, *shape), kind)
        case _:
            words = _extremes(random, kind, *shape)
    if kind == "tf32":
        words &= ~np.uint32(0x1FFF)
        words |= random.words(*words.shape) & np.uint32(0x1FFF)
    return words


def fractions(random: Random, *shape: int) -> NDArray[np.float32]:
    """Numbers of many magnitudes, about as many positive as negative."""
    mantissa = random.integers(-(2**20), 2**20, *shape).astype(np.float32)
    return np.ldexp(mantissa, random.integers(-24, -16, *shape)).astype(np.float32)


def accumulators(random: Random, operands: str, *shape: int) -> NDArray[np.float32]:
    """What a multiplication adds to."""
    match operands:
        case "integers":
            return random.integers(-100_000, 100_000, *shape).astype(np.float32)
        case "fractions":
            return fractions(random, *shape)
        case _:
            return _extremes(random, "f32", *shape).view(np.float32)


def _extremes(random: Random, kind: str, *shape: int) -> NDArray[np.uint32]:
    """Any finite numbers, zeros of both signs, subnormals; a few infinities and NaNs."""
    exponent_bits, fraction_bits = {"bf16": (8, 7), "f16": (5, 10)}.get(kind, (8, 23))
    width = 1 + exponent_bits + fraction_bits
    top = np.uint32(2**exponent_bits - 1)
    bits = random.words(*shape) >> np.uint32(32 - width)
    choice = random.words(*shape)
    exponent = bits >> np.uint32(fraction_bits) & top
    # Half of the exponents are near each other: sums of terms that do not hide one another.
    near = top // np.uint32(2) + choice % np.uint32(6)
    exponent = np.where(choice & np.uint32(64), near, np.minimum(exponent, top - np.uint32(1)))
    exponent = np.where(choice >> np.uint32(8) & np.uint32(7), exponent, np.uint32(0))
    exponent = np.where(choice >> np.uint32(16) & np.uint32(1023), exponent, top)
    fraction = bits & np.uint32(2**fraction_bits - 1)
    fraction = np.where(choice >> np.uint32(11) & np.uint32(3), fraction, np.uint32(0))
    sign = bits >> np.uint32(width - 1)
    words = sign << np.uint32(width - 1) | exponent << np.uint32(fraction_bits) | fraction
    result: NDArray[np.uint32] = words.astype(np.uint32)
    return result if width == 32 else result.astype(np.uint16).view(np.uint32)


def _mma(kind: str, operands: str) -> Case:
    body = f"""
        u32 left[4], right[2];
        float sum[4];
        for (int i = 0; i < 4; ++i) left[i] = global_load(a.left + place * 4 + i);
        for (int i = 0; i < 2; ++i) right[i] = global_load(a.right + place * 2 + i);
        for (int i = 0; i < 4; ++i) sum[i] = global_load(a.sum + place * 4 + i);
        multiply_add(sum, left, right, {kind}{{}});
        for (int i = 0; i < 4; ++i) global_store(a.result + place * 4 + i, sum[i]);"""
    per_word = 1 if kind == "tf32" else 2

    def inputs(random: Random) -> Arrays:
        return {
            "left": operand(random, kind, operands, VECTORS, 32, 4 * per_word),
            "right": operand(random, kind, operands, VECTORS, 32, 2 * per_word),
            "sum": accumulators(random, operands, VECTORS, 32, 4),
        }

    return Case(
        name=f"mma.sync {kind} {operands}",
        body=_rounds(body),
        grid=Grid(_BLOCKS, 32),
        vectors=VECTORS,
        inputs=inputs,
        outputs={"result": ((VECTORS, 32, 4), "float32")},
    )


def _cp_async() -> Case:
    body = """
        const auto source = reinterpret_cast<const Words*>(a.data);
        copy_async(lane * 16, source + place, global_load(a.bytes + place));
        copy_commit();
        copy_wait<0>();
        sync_warp();
        const auto result = reinterpret_cast<Words*>(a.result);
        global_store(result + place, shared_load<Words>((lane ^ 1) * 16));"""

    def inputs(random: Random) -> Arrays:
        bytes = random.integers(0, 16, VECTORS, 32)
        return {"data": random.words(VECTORS, 32, 4), "bytes": bytes}

    return Case(
        name="cp.async zero-fill",
        body=_rounds(body),
        grid=Grid(_BLOCKS, 32, 512),
        vectors=VECTORS * 32,
        inputs=inputs,
        outputs={"result": ((VECTORS, 32, 4), "uint32")},
    )


def _floats_of_all_kinds(random: Random, count: int) -> NDArray[np.uint32]:
    """Any bits; ties and near ties of the narrower formats; values around their ranges' ends."""
    words = random.words(count)
    low = np.array([0, 1, 0x0FFF, 0x1000, 0x1001, 0x7FFF, 0x8000, 0x8001], np.uint32)
    keep = np.where(random.words(count) % 2, np.uint32(0xFFFF0000), np.uint32(0xFFFFE000))
    ties = words & keep | low[random.words(count) % 8] & ~keep
    ends = np.array([0x33000000, 0x38800000, 0x477FF000, 0x7F7F8000, 0x7F800000], np.uint32)
    near = ends[random.words(count) % 5] + random.integers(-16, 16, count).astype(np.uint32)
    near |= random.words(count) & np.uint32(0x80000000)
    return np.concatenate([words, ties, near])


def _convert() -> Case:
    count = 3 * VECTORS
    body = f"""
MOE_KERNEL(96, 1) kernel(MOE_ARGUMENTS Arguments a) {{
    const int first = cta_index() * {count // 32}, end = first + {count // 32};
    for (int i = first + thread_index(); i < end; i += 96) {{
        const u32 bits = global_load(a.bits + i);
        const float x = float_of(bits);
        global_store(a.to_bf16 + i, rounded<bf16>(x).bits);
        global_store(a.to_f16 + i, rounded<f16>(x).bits);
        global_store(a.to_tf32 + i, round_tf32(bits));
    }}
}}"""
    return Case(
        name="cvt rounding",
        body=body,
        grid=Grid(32, 96),
        vectors=count,
        inputs=lambda random: {"bits": _floats_of_all_kinds(random, VECTORS)},
        outputs={
            "to_bf16": ((count,), "uint16"),
            "to_f16": ((count,), "uint16"),
            "to_tf32": ((count,), "uint32"),
        },
        launches=4,
    )


def _widen() -> Case:
    body = """
MOE_KERNEL(64, 1) kernel(MOE_ARGUMENTS Arguments a) {
    for (int i = thread_index() + cta_index() * 1024; i < (cta_index() + 1) * 1024; i += 64) {
        const u16 bits = static_cast<u16>(global_load(a.bits + i));
        global_store(a.of_f16 + i, bits_of(widen(f16{bits})));
        global_store(a.of_bf16 + i, bits_of(widen(bf16{bits})));
    }
}"""
    return Case(
        name="cvt widening",
        body=body,
        grid=Grid(64, 64),
        vectors=65_536,
        inputs=lambda _: {"bits": np.arange(65_536, dtype=np.uint32)},
        outputs={"of_f16": ((65_536,), "uint32"), "of_bf16": ((65_536,), "uint32")},
    )


def _shuffle() -> Case:
    body = """
        const int value = global_load(a.value + place);
        const int up = shuffle_up(value, global_load(a.distance + vector));
        global_store(a.result + place, up);"""

    def inputs(random: Random) -> Arrays:
        value = random.words(VECTORS, 32).view(np.int32)
        return {"value": value, "distance": random.integers(0, 31, VECTORS)}

    return Case(
        name="shfl up",
        body=_rounds(body),
        grid=Grid(_BLOCKS, 32),
        vectors=VECTORS,
        inputs=inputs,
        outputs={"result": ((VECTORS, 32), "int32")},
    )


def _atomics() -> Case:
    body = """
        const int slot = global_load(a.slot + place);
        const int value = global_load(a.value + place);
        atomic_add(a.integers + slot, value);
        atomic_add(a.floats + slot, static_cast<float>(value));
        const float x = static_cast<float>(value);
        atomic_add(a.vectors + 4 * slot, Floats{{x, -x, 2 * x, 1}});"""

    def inputs(random: Random) -> Arrays:
        slot = random.integers(0, 4095, VECTORS, 32)
        return {"slot": slot, "value": random.integers(-500, 500, VECTORS, 32)}

    return Case(
        name="red add",
        body=_rounds(body),
        grid=Grid(_BLOCKS, 32),
        vectors=VECTORS * 32,
        inputs=inputs,
        outputs={
            "integers": ((4096,), "int32"),
            "floats": ((4096,), "float32"),
            "vectors": ((4096, 4), "float32"),
        },
        use=Use.STATE,
    )
