"""What a caller other than moedsl must know to launch a kernel, as plain data."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, assert_never

from moedsl.backends.cuda.abi import (
    IndexExtent,
    OffsetsPointer,
    TensorMapOf,
    TensorPointer,
    TensorStride,
    WorkspacePointer,
)
from moedsl.backends.cuda.nvrtc import compiler_version
from moedsl.ir.core import Role

if TYPE_CHECKING:
    from moedsl.backends.cuda.abi import ArgumentSource
    from moedsl.backends.cuda.executable import Variant
    from moedsl.ir.tile import TileKernel

VERSION = 1
"""Of the format; it rises when the meaning of a field changes."""


def manifest(kernel: TileKernel, variant: Variant) -> dict[str, object]:
    """The contents of ``manifest.json``: ABI, grid rule, workspace, cost; sizes in bytes.

    A caller must keep to the ``access`` and the ``whole_rows`` of each tensor: nothing checks them.
    """
    generated, binary = variant.generated, variant.binary
    mapped = {f.source.tensor for f in generated.arguments if isinstance(f.source, TensorMapOf)}
    return {
        "version": VERSION,
        "kernel": kernel.signature.name,
        "entry": generated.entry,
        "arch": kernel.target,
        "compiler": f"NVRTC {compiler_version()}",
        "key": binary.key,
        "tensors": [
            {
                "name": tensor.name,
                "role": str(tensor.role),
                "dtype": str(tensor.dtype),
                "dims": list(tensor.dims),
                "access": str(variant.modes[tensor.name]),
                # What the copy engine stores must end with whole 16 bytes in every row.
                "whole_rows": tensor.role is not Role.INPUT and tensor.name in mapped,
            }
            for tensor in kernel.signature.tensors
        ],
        "threads": generated.threads,
        "shared_bytes": generated.shared_bytes,
        "blocks_per_multiprocessor": generated.min_blocks,
        "cluster": generated.cluster,
        "overlaps": generated.overlaps,
        "argument_bytes": generated.argument_bytes,
        "arguments": [
            {
                "name": field.name,
                "offset": field.offset,
                "bytes": field.bytes,
                **_describe(field.source),
            }
            for field in generated.arguments
        ],
        "grid": asdict(generated.grid),
        "workspace": [
            {**asdict(rule), "part": str(rule.part), "zeroed": rule.zeroed}
            for rule in generated.workspace
        ],
        "notes": asdict(binary.notes),
    }


def _describe(source: ArgumentSource) -> dict[str, object]:
    match source:
        case TensorPointer(tensor):
            return {"is": "address", "of": tensor}
        case TensorStride(tensor, dim):
            return {"is": "stride", "of": tensor, "dim": dim}
        case IndexExtent(index):
            return {"is": "extent", "of": index}
        case OffsetsPointer():
            return {"is": "offsets"}
        case WorkspacePointer(part):
            return {"is": "workspace", "of": str(part)}
        case TensorMapOf(tensor, box, clip, tf32, few_rows, swizzle):
            box_and_clip = {"box": list(box), "clip": clip, "swizzle": int(swizzle)}
            kinds = {"tf32": tf32, "few_rows": few_rows}
            return {"is": "tensor_map", "of": tensor, **box_and_clip, **kinds}
        case unreachable:
            assert_never(unreachable)
