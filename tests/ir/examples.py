"""One kernel written out in the IR, and its text."""

from __future__ import annotations

from moedsl.ir.core import Access, Compute, Coordinate, DType, Index, IndexKind, Role, Tensor, Value
from moedsl.ir.elementwise import Apply, Function, Store
from moedsl.ir.module import Module
from moedsl.ir.moe import Contract, MoeKernel, Signature
from moedsl.source.span import Source, Span

SOURCE = Source("swiglu.moe", "# SwiGLU\nkernel swiglu {}\n")


def access(tensor: str, *indices: str) -> Access:
    """``tensor`` subscripted with plain indices."""
    return Access(tensor, tuple(map(Coordinate, indices)))


SIGNATURE = Signature(
    name="swiglu",
    indices=(
        Index("e", IndexKind.FIXED, 4, span=Span(0, 8)),
        Index("m", IndexKind.RAGGED, over="e"),
        Index("n", IndexKind.FIXED, 64),
        Index("k", IndexKind.FIXED, 32),
    ),
    tensors=(
        Tensor("x", Role.INPUT, DType.BF16, ("m", "k")),
        Tensor("wg", Role.INPUT, DType.BF16, ("e", "n", "k")),
        Tensor("wu", Role.INPUT, DType.BF16, ("e", "n", "k")),
        Tensor("h", Role.OUTPUT, DType.BF16, ("m", "n")),
    ),
    compute=Compute.BF16,
    experts="e",
    ragged="m",
    rows="m",
    columns="n",
    span=Span(9, 22),
)

GATE, UP, ACT, H = (Value(name, ("m", "n")) for name in ("gate", "up", "act", "h"))
X = access("x", "m", "k")

KERNEL = MoeKernel(
    SIGNATURE,
    (
        Contract(GATE, "k", X, access("wg", "e", "n", "k"), Span(9, 15)),
        Contract(UP, "k", X, access("wu", "e", "n", "k"), Span(16, 22)),
        Apply(ACT, Function.SILU, (GATE,), Span(9, 22)),
        Apply(H, Function.MUL, (ACT, UP)),
        Store(H, access("h", "m", "n")),
    ),
    SOURCE,
)

EXAMPLE = Module("moe", (KERNEL,), SOURCE)

TILE_TEXT = r"""tile module

kernel swiglu loc(9:22) {
  index e = 4 loc(0:8)
  index m = ragged(e)
  index n = 64
  index k = 32
  input x : bf16[m, k]
  input wg : bf16[e, n, k]
  input wu : bf16[e, n, k]
  output h : bf16[m, n]
  compute = bf16
  experts = e
  ragged = m
  rows = m
  columns = n
  target = sm_90a
  schedule = {
    tile = {rows = 64, columns = 64, depth = 32},
    tails = (32, 16),
    balanced = false,
    swap_ab = false,
    stages = 3,
    consumers = 1,
    cooperation = cooperative,
    producer_registers = 0,
    consumer_registers = 0,
    cluster_rows = 1,
    cluster_columns = 1,
    row_eviction = normal,
    column_eviction = normal,
    persistent = static,
    order = index,
    raster = {along = rows, group = 8, serpentine = false},
    fuse_rows = 0,
    split_k = 1,
    epilogue_store = staged,
    require = ()
  }

  %gate[m, n], %up[m, n] = tile.multiply
    over = k,
    rows = x[m, k],
    columns = (wg[e, n, k], wu[e, n, k]) loc(9:22)
  %act[m, n] = elem.apply function = silu, operands = (%gate) loc(9:22)
  %h[m, n] = elem.apply function = mul, operands = (%act, %up)
  elem.store operand = %h, access = h[m, n], accumulate = false
}

source "swiglu.moe" {
  "# SwiGLU\n"
  "kernel swiglu {}\n"
}
"""
