"""The tensors that all contestants of one workload start from, on the GPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moedsl.bench.expected import INITIAL, Given, worst_error
from moedsl.ir.core import DType, Role
from moedsl.source.diagnostic import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moedsl.bench.kernels import Workload
    from moedsl.ir.core import Tensor


@dataclass(frozen=True)
class Operands:
    """One workload's torch tensors.

    ``inputs`` are the kernel's by name. All its weights lie side by side in ``weights``
    [E, c·n, k], of which a kernel with c > 1 of them has views: so each contestant finds them as
    it likes them best, and none needs a copy. ``offs`` is i32[E], ``out`` the kernel's output.
    """

    workload: Workload
    inputs: Mapping[str, Any]
    weights: Any
    offs: Any
    out: Any

    def __getitem__(self, name: str) -> Any:
        return self.inputs[name]

    def poison(self) -> None:
        """Fill the output with what no result is: NaN, or what a kernel adds to.

        Memory that torch will hand to a contestant for its own output is likely to hold NaN, too.
        """
        import torch

        if self.workload.meaning.signature.outputs[0].role is Role.ACCUMULATED:
            self.out.fill_(INITIAL)
        else:
            self.out.fill_(float("nan"))
            torch.full_like(self.out, float("nan"))

    def worst_error(self, result: Any, *, stores: bool) -> float:
        """The largest error of ``result`` over what is allowed; right if at most 1.

        ``stores`` tells that intermediate results were stored in bf16.
        """
        import torch

        given = Given(self.workload.case, self.inputs, torch, stores)
        with self.out.device:
            return worst_error(self.workload.kernel.expected(given), result, given)


def make_operands(workload: Workload, seed: int) -> Operands:
    """Random operands: rows standard normal, weights too but over √k, factors of rows 0 to 1.

    Raises UnavailableError without torch or a GPU.
    """
    try:
        import torch
    except ImportError:
        raise UnavailableError(
            "the benchmark needs torch for its rivals", "pip install 'moedsl[torch,bench]'"
        ) from None
    if not torch.cuda.is_available():
        raise UnavailableError("the benchmark needs a CUDA GPU", "moedsl doctor says what is seen")
    # What other shapes left in the allocator's hands is in the way of large ones.
    torch.cuda.empty_cache()
    case, signature = workload.case, workload.meaning.signature
    generator = torch.Generator(device="cuda").manual_seed(seed)
    options = {"device": "cuda", "generator": generator}
    names = [tensor.name for tensor in signature.inputs if _is_weight(tensor)]
    weights = torch.randn(
        case.experts, len(names) * case.n, case.k, dtype=torch.bfloat16, **options
    ).mul_(case.k**-0.5)
    inputs = dict(zip(names, weights.split(case.n, dim=1), strict=False))
    for tensor in signature.inputs:
        if tensor.dtype is DType.I32:
            inputs[tensor.name] = torch.from_numpy(case.draw_tokens(seed)).cuda()
        elif tensor.dtype is DType.F32:
            inputs[tensor.name] = torch.rand(workload.shape(tensor), **options)
        elif not _is_weight(tensor):
            inputs[tensor.name] = torch.randn(
                workload.shape(tensor), dtype=torch.bfloat16, **options
            )
    (output,) = signature.outputs
    dtype = torch.float32 if output.dtype is DType.F32 else torch.bfloat16
    out = torch.empty(workload.shape(output), dtype=dtype, device="cuda")
    offs = torch.tensor(case.rows, device="cuda").cumsum(0).to(torch.int32)
    return Operands(workload, inputs, weights, offs, out)


def _is_weight(tensor: Tensor) -> bool:
    return tensor.dims == ("e", "n", "k")
