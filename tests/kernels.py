"""Kernels made by hand, for tests of what comes after the front end."""

from __future__ import annotations

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
from moedsl.ir.elementwise import Apply, Function, Load, Store
from moedsl.ir.moe import Contract, MoeKernel, Signature

FACTOR_COMPUTE = {DType.BF16: Compute.BF16, DType.F16: Compute.F16, DType.F32: Compute.F32}


def access(text: str) -> Access:
    """``x[src[m],k]`` as an access."""
    name, _, subscripts = text.removesuffix("]").partition("[")
    coordinates = []
    for word in filter(None, subscripts.split(",")):
        via, bracket, index = word.removesuffix("]").partition("[")
        coordinates.append(Coordinate(index, via) if bracket else Coordinate(via))
    return Access(name, tuple(coordinates))


def indices(experts: int, **extents: int | None) -> tuple[Index, ...]:
    """``e`` with so many experts, ragged ``m``, and others; None makes one dynamic."""
    return (
        Index("e", IndexKind.FIXED, experts),
        Index("m", IndexKind.RAGGED, over="e"),
        *(
            Index(name, IndexKind.DYNAMIC if extent is None else IndexKind.FIXED, extent)
            for name, extent in extents.items()
        ),
    )


def tensor(role: Role, text: str, dtype: DType) -> Tensor:
    """``x[m,k]`` as a declaration."""
    found = access(text)
    return Tensor(found.tensor, role, dtype, found.indices)


def grouped_gemm(
    experts: int,
    n: int,
    k: int,
    dtype: DType = DType.BF16,
    out: DType | None = None,
    weight: str = "w[e,n,k]",
) -> MoeKernel:
    """``y[m, n] = sum[k] x[m, k] * w[e, n, k]``."""
    tensors = (
        tensor(Role.INPUT, "x[m,k]", dtype),
        tensor(Role.INPUT, weight, dtype),
        tensor(Role.OUTPUT, "y[m,n]", out or dtype),
    )
    signature = Signature(
        "gemm", indices(experts, n=n, k=k), tensors, FACTOR_COMPUTE[dtype], "e", "m", "m", "n"
    )
    product = Value("c", ("m", "n"))
    body = (
        Contract(product, "k", access("x[m,k]"), access(weight)),
        Store(product, access("y[m,n]")),
    )
    return MoeKernel(signature, body)


def weight_gradient(
    experts: int, n: int, k: int, dtype: DType = DType.BF16, bias: bool = False
) -> MoeKernel:
    """``dw[e, n, k] = sum[m] dy[m, n] * x[m, k]``, plus ``b[n]`` if ``bias``."""
    domain = ("e", "n", "k")
    tensors = (
        tensor(Role.INPUT, "dy[m,n]", dtype),
        tensor(Role.INPUT, "x[m,k]", dtype),
        tensor(Role.INPUT, "b[n]", DType.F32),
        tensor(Role.OUTPUT, "dw[e,n,k]", DType.F32),
    )
    signature = Signature(
        "grad", indices(experts, n=n, k=k), tensors, FACTOR_COMPUTE[dtype], "e", "m", "n", "k"
    )
    product, loaded, total = Value("c", domain), Value("b", ("n",)), Value("s", domain)
    body = (
        Contract(product, "m", access("dy[m,n]"), access("x[m,k]")),
        Load(loaded, access("b[n]")),
        Apply(total, Function.ADD, (product, loaded)),
        Store(total if bias else product, access("dw[e,n,k]")),
    )
    return MoeKernel(signature, body)


def combine(experts: int, n: int, k: int) -> MoeKernel:
    """``y[dst[m], n] += p[m] * sum[k] x[src[m], k] * w[e, k, n]`` over ``t`` tokens."""
    tensors = (
        tensor(Role.INPUT, "x[t,k]", DType.BF16),
        tensor(Role.INPUT, "w[e,k,n]", DType.BF16),
        tensor(Role.INPUT, "src[m]", DType.I32),
        tensor(Role.INPUT, "dst[m]", DType.I32),
        tensor(Role.INPUT, "p[m]", DType.F32),
        tensor(Role.ACCUMULATED, "y[t,n]", DType.F32),
    )
    signature = Signature(
        "combine", indices(experts, n=n, k=k, t=None), tensors, Compute.BF16, "e", "m", "m", "n"
    )
    product, weight = Value("c", ("m", "n")), Value("q", ("m",))
    scaled = Value("d", ("m", "n"))
    body = (
        Contract(product, "k", access("x[src[m],k]"), access("w[e,k,n]")),
        Load(weight, access("p[m]")),
        Apply(scaled, Function.MUL, (weight, product)),
        Store(scaled, access("y[dst[m],n]"), accumulate=True),
    )
    return MoeKernel(signature, body)
