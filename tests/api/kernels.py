"""Small kernels made of IR alone, for tests that are not about the language."""

from __future__ import annotations

from moedsl.ir.core import Access, Compute, Coordinate, DType, Index, IndexKind, Role, Tensor, Value
from moedsl.ir.elementwise import Store
from moedsl.ir.moe import Contract, MoeKernel, Signature
from moedsl.ir.schedule import Persistence, Schedule, TileShape

COMPUTE = {DType.BF16: Compute.BF16, DType.F16: Compute.F16, DType.F32: Compute.F32}


def _access(tensor: str, *subscripts: str) -> Access:
    """Subscripts are ``k`` or ``src[m]``."""
    coordinates = []
    for subscript in subscripts:
        via, _, index = subscript.rstrip("]").rpartition("[")
        coordinates.append(Coordinate(index, via or None))
    return Access(tensor, tuple(coordinates))


def forward(
    experts: int = 4,
    columns: int = 64,
    depth: int = 64,
    dtype: DType = DType.BF16,
    *,
    gather: bool = False,
    scatter: bool = False,
    accumulate: bool = False,
    out: DType | None = None,
) -> MoeKernel:
    """``y[m, n] = sum[k] x[m, k] * w[e, n, k]``; also ``x[src[m], k]`` and ``y[dst[m], n]``."""
    indices = [
        Index("e", IndexKind.FIXED, experts),
        Index("m", IndexKind.RAGGED, over="e"),
        Index("n", IndexKind.FIXED, columns),
        Index("k", IndexKind.FIXED, depth),
        Index("t", IndexKind.DYNAMIC),
        Index("u", IndexKind.DYNAMIC),
    ]
    tensors = [
        Tensor("x", Role.INPUT, dtype, ("t" if gather else "m", "k")),
        Tensor("w", Role.INPUT, dtype, ("e", "n", "k")),
        Tensor(
            "y",
            Role.ACCUMULATED if accumulate else Role.OUTPUT,
            out or dtype,
            ("u" if scatter else "m", "n"),
        ),
    ]
    if scatter:
        tensors.insert(0, Tensor("dst", Role.INPUT, DType.I32, ("m",)))
    if gather:
        tensors.insert(0, Tensor("src", Role.INPUT, DType.I32, ("m",)))
    used = {dim for tensor in tensors for dim in tensor.dims}
    signature = Signature(
        name="forward",
        indices=tuple(index for index in indices if index.name in used),
        tensors=tuple(tensors),
        compute=COMPUTE[dtype],
        experts="e",
        ragged="m",
        rows="m",
        columns="n",
    )
    value = Value("v", ("m", "n"))
    contract = Contract(
        value, "k", _access("x", "src[m]" if gather else "m", "k"), _access("w", "e", "n", "k")
    )
    store = Store(value, _access("y", "dst[m]" if scatter else "m", "n"), accumulate)
    return MoeKernel(signature, (contract, store))


def schedule(
    *, persistent: Persistence = Persistence.STATIC, split_k: int = 1, rows: int = 64
) -> Schedule:
    """One that is legal everywhere for every type."""
    return Schedule(
        TileShape(rows, 64, 32), persistent=persistent, split_k=split_k, stages=2, consumers=1
    )
