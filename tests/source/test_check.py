"""What the checker and builder make of sound kernels."""

from __future__ import annotations

import pytest

from moedsl.ir.core import Access, Compute, Coordinate, Role
from moedsl.ir.elementwise import Apply, Constant, Function, Load, Store
from moedsl.ir.module import Module
from moedsl.ir.moe import Contract, MoeKernel
from moedsl.ir.verify import violations_of
from moedsl.lower.front import check_program, load_program
from moedsl.source.diagnostic import DiagnosticError
from moedsl.source.span import Source

HEAD = """
    param width = 256
    index e = 8
    index m = ragged(e)
    index n = width
    index k = 128
    index t = dynamic
"""


def build(body: str, **overrides: int) -> MoeKernel:
    program = load_program(Source("good.moe", f"kernel good {{{HEAD}{body}}}"), overrides)
    (kernel,) = program.kernels
    assert not violations_of(Module("moe", (kernel,), kernel.source))
    return kernel


def access(tensor: str, *coordinates: str) -> Access:
    parts = [part.rstrip("]").split("[") for part in coordinates]
    return Access(tensor, tuple(Coordinate(p[-1], p[0] if len(p) > 1 else None) for p in parts))


DENSE = """
    input x : bf16[m, k]
    input w : bf16[e, n, k]
    output h : bf16[m, n]
"""


@pytest.mark.parametrize("product", ["x[m, k] * w[e, n, k]", "w[e, n, k] * x[m, k]"])
def test_the_factor_with_the_rows_is_the_left_one(product: str) -> None:
    kernel = build(f"{DENSE} h[m, n] = sum[k] {product}")
    contract, store = kernel.body
    assert isinstance(contract, Contract)
    assert contract.lhs == access("x", "m", "k")
    assert contract.rhs == access("w", "e", "n", "k")
    assert contract.result.dims == ("m", "n")
    assert isinstance(store, Store)
    assert kernel.signature.row_grouped
    assert (kernel.signature.rows, kernel.signature.columns) == ("m", "n")


def test_weight_gradient() -> None:
    kernel = build("""
        input dy : bf16[m, n]
        input x : bf16[m, k]
        output dw : f32[e, n, k]
        dw[e, n, k] += sum[m] x[m, k] * dy[m, n]
    """)
    (contract, store) = kernel.body
    assert isinstance(contract, Contract)
    assert (contract.over, contract.lhs.tensor, contract.rhs.tensor) == ("m", "dy", "x")
    assert contract.result.dims == ("e", "n", "k")
    assert isinstance(store, Store)
    assert store.accumulate
    signature = kernel.signature
    assert (signature.experts, signature.rows, signature.columns) == ("e", "n", "k")
    assert signature.tensor("dw").role is Role.ACCUMULATED


def test_gather_scatter_and_epilogue() -> None:
    kernel = build("""
        input x : f16[t, k]
        input src : i32[m]
        input dst : i32[m]
        input w : f16[e, k, n]
        input b : f16[e, n]
        input p : f32[m]
        input alpha : f32
        output y : f32[t, n]
        d = sum[k] x[src[m], k] * w[e, k, n]
        y[dst[m], n] += p[m] * clamp(d + b[e, n], -width, alpha)
    """)
    kinds = [type(op) for op in kernel.body]
    assert kinds == [Contract, Load, Load, Apply, Constant, Apply, Load, Apply, Apply, Store]
    contract, store = kernel.body[0], kernel.body[-1]
    assert isinstance(contract, Contract)
    assert contract.result.name == "d"
    assert contract.lhs == access("x", "src[m]", "k")
    assert isinstance(store, Store)
    assert store.access == access("y", "dst[m]", "n")
    functions = [op.function for op in kernel.body if isinstance(op, Apply)]
    assert functions == [Function.ADD, Function.NEG, Function.CLAMP, Function.MUL]
    # A row knows its expert.
    assert kernel.body[3].result.dims == ("m", "n") if isinstance(kernel.body[3], Apply) else False
    assert kernel.signature.compute is Compute.F16
    assert [index.name for index in kernel.signature.dynamic] == ["t"]


def test_contractions_of_other_depths_and_shared_weights() -> None:
    kernel = build("""
        index j = 64
        input x : bf16[m, k]
        input z : bf16[m, j]
        input w : bf16[e, n, k]
        input s : bf16[j, n]
        output h : f32[m, n]
        h[m, n] = (sum[k] x[m, k] * w[e, n, k]) + sum[j] z[m, j] * s[j, n]
    """)
    assert [op.over for op in kernel.body if isinstance(op, Contract)] == ["k", "j"]


def test_precedence() -> None:
    """A sum reaches over its product only; minus binds tighter than times."""
    kernel = build(f"{DENSE} input b : f32[n]\n h[m, n] = sum[k] x[m, k] * w[e, n, k] + -2 * b[n]")
    functions = [op.function for op in kernel.body if isinstance(op, Apply)]
    assert functions == [Function.NEG, Function.MUL, Function.ADD]


def test_tf32() -> None:
    body = DENSE.replace("bf16", "f32") + "h[m, n] = sum[k] x[m, k] * w[e, n, k]"
    assert build(body).signature.compute is Compute.F32
    assert build(f"compute tf32\n{body}").signature.compute is Compute.TF32


def test_names_of_c_are_names_like_others() -> None:
    kernel = build("""
        input int : bf16[m, k]
        input __global__ : bf16[e, n, k]
        output return : bf16[m, n]
        struct = sum[k] int[m, k] * __global__[e, n, k]
        return[m, n] = struct
    """)
    assert [tensor.name for tensor in kernel.signature.tensors] == ["int", "__global__", "return"]


def test_values_do_not_take_a_users_name() -> None:
    kernel = build(f"{DENSE} v0 = 2\n h[m, n] = v0 * (sum[k] x[m, k] * w[e, n, k])")
    names = [op.result.name for op in kernel.body if not isinstance(op, Store)]
    assert len(set(names)) == len(names) == 3
    assert names[0] == "v0"


def test_overrides() -> None:
    body = f"{DENSE} h[m, n] = sum[k] x[m, k] * w[e, n, k]"
    assert build(body, width=96).signature.index("n").extent == 96
    source = Source("good.moe", f"kernel good {{{HEAD}{body}}}")
    (found,) = check_program(source, {"widht": 3}).diagnostics[-1:]
    assert (found.code, found.help) == ("MOE0116", "did you mean `width`?")
    for bad in (0, -4, 2**31):
        with pytest.raises(DiagnosticError, match="MOE0115"):
            load_program(source, {"width": bad})


def test_exact_constants() -> None:
    body = f"""
        param half = width / 2
        param ratio = half / 3 * 3 - (1 - 2)
        index j = half
        {DENSE}
        h[m, n] = ratio * (sum[k] x[m, k] * w[e, n, k])
    """
    program = check_program(Source("", f"kernel good {{{HEAD}{body}}}"))
    (kernel,) = program.kernels
    assert kernel.signature.index("j").extent == 128
    (constant,) = [op.number for op in kernel.body if isinstance(op, Constant)]
    assert constant == pytest.approx(129)
    assert [found.code for found in program.diagnostics] == ["MOE0124", "MOE0124"]


def test_one_bad_kernel_does_not_hide_another() -> None:
    good = f"kernel good {{{HEAD}{DENSE} h[m, n] = sum[k] x[m, k] * w[e, n, k]\n}}"
    bad = good.replace("good", "bad").replace("x[m, k] *", "y[m, k] *")
    program = check_program(Source("", f"{bad}\n{good}"))
    assert [kernel.signature.name for kernel in program.kernels] == ["good"]
    assert program.broken
