"""The device half of the warpgroup multiplications that a unit uses, as text."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

WGMMA_PART = "hopper_wgmma_shapes"
"""The generated part's name among the parts of the prelude; it follows ``hopper_wgmma``."""


class WgmmaType(Enum):
    """Operand types; the value is the one in the prelude and in the instruction."""

    BF16 = "bf16"
    F16 = "f16"
    TF32 = "tf32"

    @property
    def depth(self) -> int:
        """Elements of k in one instruction: 32 bytes."""
        return 8 if self is WgmmaType.TF32 else 16


class Major(IntEnum):
    """Whether neighbours in memory are neighbours in k, or in rows and columns (2-byte types)."""

    DEPTH = 0
    OUTER = 1


@dataclass(frozen=True, slots=True, order=True)
class WgmmaShape:
    """One instruction: 64 rows, ``columns`` (a multiple of 8, at most 256), one type.

    ``left`` is None where the rows' operand comes from registers.
    """

    type: WgmmaType
    columns: int
    left: Major | None = Major.DEPTH
    right: Major = Major.DEPTH

    def __post_init__(self) -> None:
        if self.columns not in range(8, 257, 8):
            raise ValueError(f"wgmma has no {self.columns} columns: 8 to 256 in steps of 8")
        if self.type is WgmmaType.TF32 and Major.OUTER in (self.left, self.right):
            raise ValueError("wgmma takes tf32 by depth only")


def wgmma_text(shapes: Iterable[WgmmaShape]) -> str:
    """A section of the prelude: both functions of every shape, in a fixed order."""
    ordered = sorted(
        set(shapes), key=lambda s: (s.type.value, s.columns, s.left is None, s.left or 0, s.right)
    )
    functions = [_function(s, adds) for s in ordered for adds in (False, True)]
    head = (
        f"// prelude/{WGMMA_PART}.cuh\n// Multiplications of a warpgroup, as this unit needs them."
    )
    return "\n\n".join([head, "namespace moe {", *functions, "}  // namespace moe"]) + "\n"


def _function(shape: WgmmaShape, adds: bool) -> str:
    # Sums that an instruction only writes are outputs: as read-write operands they would be live,
    # uninitialised, from wherever they were declared.
    count = shape.columns // 2
    left_words = 4 if shape.left is None else 1
    kind = shape.type.value
    sums = ', "\n        "'.join(_rows((f"%{i}" for i in range(count)), 8))
    left = (
        f"{{{', '.join(f'%{count + i}' for i in range(4))}}}" if shape.left is None else f"%{count}"
    )
    right = f"%{count + left_words}"
    majors = [m for m in (shape.left, shape.right) if m is not None]
    flags = ", ".join(
        ["adds", "1", "1", *([] if kind == "tf32" else [str(int(m)) for m in majors])]
    )
    name = f"wgmma.mma_async.sync.aligned.m64n{shape.columns}k{shape.type.depth}.f32.{kind}.{kind}"
    constraint = "+f" if adds else "=f"
    outputs = ",\n          ".join(_rows((f'"{constraint}"(sum[{i}])' for i in range(count)), 6))
    inputs = ", ".join(f'"r"(left[{i}])' for i in range(4)) if shape.left is None else '"l"(left)'
    what = "sum += left * right" if adds else "sum = left * right"
    operand = "const u32 (&left)[4]" if shape.left is None else "u64 left"
    tag = f"Product<{kind}, {int(shape.left or 0)}, {int(shape.right)}>"
    return f"""\
// {what}
MOE_DEVICE void group_multiply{"_add" if adds else ""}(float (&sum)[{count}], {operand}, u64 right,
                                   {tag}) {{
    asm volatile(
        "{{\\n"
        ".reg .pred adds;\\n"
        "setp.{"eq" if adds else "ne"}.b32 adds, 0, 0;\\n"
        "{name} "
        "{{"
        "{sums}"
        "}}, {left}, {right}, {flags};\\n"
        "}}"
        : {outputs}
        : {inputs}, "l"(right));
}}"""


def _rows(items: Iterable[str], width: int) -> list[str]:
    """Items with commas, ``width`` to a line."""
    entries = list(items)
    return [", ".join(entries[i : i + width]) for i in range(0, len(entries), width)]
