"""Kernels built by hand for the tests of code generation."""

from __future__ import annotations

from dataclasses import replace

from moedsl.ir.core import (
    Access,
    Compute,
    Coordinate,
    DType,
    Index,
    IndexKind,
    Role,
    Tensor,
    Value,
)
from moedsl.ir.elementwise import Apply, Constant, Function, Load, Store
from moedsl.ir.moe import Contract, MoeKernel, MoeOp, Signature
from moedsl.ir.schedule import (
    Cooperation,
    EpilogueStore,
    ExpertOrder,
    Persistence,
    Schedule,
    TileShape,
)

SHARED = Schedule(
    TileShape(64, 64, 64),
    stages=3,
    consumers=2,
    producer_registers=40,
    consumer_registers=232,
)
"""Specialised warps: two consumers share a tile."""
SWAPPED = replace(SHARED, tile=TileShape(64, 128, 64), swap_ab=True)
TURNS = replace(SWAPPED, cooperation=Cooperation.PINGPONG, tails=(40, 8))
STORED = replace(TURNS, epilogue_store=EpilogueStore.TMA, cluster_columns=2, tails=(48, 16))
TALL_STORED = replace(STORED, tile=TileShape(128, 96, 64), swap_ab=False, tails=(64,))
"""Rows are the tall side of products, and columns the flat one."""
PAIRED = replace(
    TURNS,
    stages=4,
    tails=(48, 32, 16),
    balanced=True,
    cluster_rows=2,
    persistent=Persistence.DYNAMIC,
    order=ExpertOrder.INTERLEAVED,
)
"""Two row tiles share their columns."""
THREE = replace(TURNS, consumers=3, producer_registers=32, consumer_registers=160)


def access(tensor: str, *subscripts: str) -> Access:
    """``access("x", "src[m]", "k")`` is x[src[m], k]."""
    coordinates = []
    for subscript in subscripts:
        via, bracket, index = subscript.rstrip("]").partition("[")
        coordinates.append(Coordinate(index, via) if bracket else Coordinate(via))
    return Access(tensor, tuple(coordinates))


def signature(
    tensors: list[Tensor],
    experts: int = 8,
    n: int = 256,
    k: int = 128,
    compute: Compute = Compute.BF16,
    k_grouped: bool = False,
) -> Signature:
    """Indices e, m (ragged), n, k, t (dynamic); rows m columns n, or rows n columns k."""
    indices = (
        Index("e", IndexKind.FIXED, experts),
        Index("m", IndexKind.RAGGED, over="e"),
        Index("n", IndexKind.FIXED, n),
        Index("k", IndexKind.FIXED, k),
        Index("t", IndexKind.DYNAMIC),
    )
    rows, columns = ("n", "k") if k_grouped else ("m", "n")
    return Signature("test", indices, tuple(tensors), compute, "e", "m", rows, columns)


def opened(kernel: MoeKernel, name: str) -> MoeKernel:
    """``kernel`` with a dynamic index called ``name``."""
    indices = tuple(
        Index(name, IndexKind.DYNAMIC) if index.name == name else index
        for index in kernel.signature.indices
    )
    return replace(kernel, signature=replace(kernel.signature, indices=indices))


_TYPES = {
    Compute.BF16: DType.BF16,
    Compute.F16: DType.F16,
    Compute.F32: DType.F32,
    Compute.TF32: DType.F32,
}


def forward(
    experts: int = 8,
    n: int = 256,
    k: int = 128,
    compute: Compute = Compute.BF16,
    weights: str = "enk",
    rows: str = "mk",
    output: DType | None = None,
    gather: bool = False,
    scatter: bool = False,
    accumulate: bool = False,
) -> MoeKernel:
    """y[m, n] = sum[k] x[m, k] * w[e, n, k] with the layouts named by ``weights`` and ``rows``."""
    dtype = _TYPES[compute]
    tensors = [
        Tensor("x", Role.INPUT, dtype, tuple(rows.replace("m", "t") if gather else rows)),
        Tensor("w", Role.INPUT, dtype, tuple(weights)),
    ]
    if gather:
        tensors.append(Tensor("src", Role.INPUT, DType.I32, ("m",)))
    if scatter:
        tensors.append(Tensor("dst", Role.INPUT, DType.I32, ("m",)))
    role = Role.ACCUMULATED if accumulate else Role.OUTPUT
    out = output or dtype
    tensors.append(Tensor("y", role, out, ("t", "n") if scatter else ("m", "n")))
    row = {"m": "src[m]" if gather else "m", "k": "k"}
    y = Value("y0", ("m", "n"))
    body: tuple[MoeOp, ...] = (
        Contract(y, "k", access("x", *(row[i] for i in rows)), access("w", *weights)),
        Store(y, access("y", "dst[m]" if scatter else "m", "n"), accumulate),
    )
    return MoeKernel(signature(tensors, experts, n, k, compute), body)


def two_depths(experts: int = 4, n: int = 328, k: int = 200, h: int = 72) -> MoeKernel:
    """y[m, n] = sum[k] x[m, k] * w[e, n, k] + sum[h] u[m, h] * v[e, n, h]."""
    tensors = [
        Tensor("x", Role.INPUT, DType.BF16, ("m", "k")),
        Tensor("w", Role.INPUT, DType.BF16, ("e", "n", "k")),
        Tensor("u", Role.INPUT, DType.BF16, ("m", "h")),
        Tensor("v", Role.INPUT, DType.BF16, ("e", "n", "h")),
        Tensor("y", Role.OUTPUT, DType.BF16, ("m", "n")),
    ]
    one, other, both = (Value(name, ("m", "n")) for name in ("one", "other", "both"))
    body = (
        Contract(one, "k", access("x", "m", "k"), access("w", "e", "n", "k")),
        Contract(other, "h", access("u", "m", "h"), access("v", "e", "n", "h")),
        Apply(both, Function.ADD, (one, other)),
        Store(both, access("y", "m", "n")),
    )
    found = signature(tensors, experts, n, k)
    return MoeKernel(replace(found, indices=(*found.indices, Index("h", IndexKind.FIXED, h))), body)


def gate_up(
    experts: int = 8,
    n: int = 256,
    k: int = 128,
    output: DType = DType.BF16,
    compute: Compute = Compute.BF16,
) -> MoeKernel:
    """H = w[m] * silu(gate + bias[e, n]) * up * scale."""
    dtype = _TYPES[compute]
    tensors = [
        Tensor("x", Role.INPUT, dtype, ("m", "k")),
        Tensor("wg", Role.INPUT, dtype, ("e", "n", "k")),
        Tensor("wu", Role.INPUT, dtype, ("e", "k", "n")),
        Tensor("bias", Role.INPUT, DType.BF16, ("e", "n")),
        Tensor("weight", Role.INPUT, DType.F32, ("m",)),
        Tensor("scale", Role.INPUT, DType.F32, ()),
        Tensor("h", Role.OUTPUT, output, ("m", "n")),
    ]
    domain = ("m", "n")
    gate, up, b, w, s = (Value(name, domain) for name in ("gate", "up", "b", "wt", "s"))
    t = [Value(f"t.{i}", domain) for i in range(6)]
    body: tuple[MoeOp, ...] = (
        Contract(gate, "k", access("x", "m", "k"), access("wg", "e", "n", "k")),
        Contract(up, "k", access("x", "m", "k"), access("wu", "e", "k", "n")),
        Load(b, access("bias", "e", "n")),
        Load(w, access("weight", "m")),
        Load(s, access("scale")),
        Apply(t[0], Function.ADD, (gate, b)),
        Apply(t[1], Function.SILU, (t[0],)),
        Apply(t[2], Function.MUL, (t[1], up)),
        Apply(t[3], Function.MUL, (t[2], w)),
        Apply(t[4], Function.MUL, (t[3], s)),
        Constant(t[5], 0.0),
        Apply(Value("out", domain), Function.ADD, (t[4], t[5])),
        Store(Value("out", domain), access("h", "m", "n")),
    )
    return MoeKernel(signature(tensors, experts, n, k, compute), body)


def weight_gradient(
    experts: int = 8,
    n: int = 256,
    k: int = 128,
    compute: Compute = Compute.BF16,
    output: DType = DType.F32,
    gather: bool = False,
) -> MoeKernel:
    """dw[e, n, k] = sum[m] dy[m, n] * x[m, k]."""
    dtype = _TYPES[compute]
    tensors = [
        Tensor("dy", Role.INPUT, dtype, ("m", "n")),
        Tensor("x", Role.INPUT, dtype, ("t" if gather else "m", "k")),
        Tensor("dw", Role.OUTPUT, output, ("e", "n", "k")),
    ]
    if gather:
        tensors.append(Tensor("src", Role.INPUT, DType.I32, ("m",)))
    sum_ = Value("sum", ("e", "n", "k"))
    body: tuple[MoeOp, ...] = (
        Contract(sum_, "m", access("dy", "m", "n"), access("x", "src[m]" if gather else "m", "k")),
        Store(sum_, access("dw", "e", "n", "k")),
    )
    return MoeKernel(signature(tensors, experts, n, k, compute, k_grouped=True), body)
