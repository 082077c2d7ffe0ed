"""The instruction text of warpgroup multiplications, word for word: no machine here runs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from moedsl.backends.cuda.emission.wgmma import Major, WgmmaShape, WgmmaType, wgmma_text

TEXT = Path(__file__).with_name("wgmma.txt")

SHAPES = (
    WgmmaShape(WgmmaType.TF32, 24, None),
    WgmmaShape(WgmmaType.TF32, 16),
    WgmmaShape(WgmmaType.BF16, 16),
    WgmmaShape(WgmmaType.BF16, 16, Major.OUTER, Major.DEPTH),
    WgmmaShape(WgmmaType.BF16, 8, Major.DEPTH, Major.OUTER),
    WgmmaShape(WgmmaType.F16, 8, None, Major.OUTER),
)


def test_text_of_every_kind_of_operand() -> None:
    """PTX ISA, wgmma.mma_async: n / 2 sums a thread, 4 words of A in registers, majors but tf32.

    Rewrite the file with ``python -m tests.cuda.test_wgmma_text``, and read what changed.
    """
    assert wgmma_text(SHAPES) == TEXT.read_text()


def test_order_and_repetition_of_shapes_do_not_matter() -> None:
    assert wgmma_text((*SHAPES[::-1], *SHAPES)) == wgmma_text(SHAPES)


@pytest.mark.parametrize("columns", [0, 4, 12, 264])
def test_columns_are_eights_up_to_256(columns: int) -> None:
    with pytest.raises(ValueError, match="8 to 256 in steps of 8"):
        WgmmaShape(WgmmaType.BF16, columns)


@pytest.mark.parametrize("columns", [8, 248, 256])
def test_every_other_number_of_columns_exists(columns: int) -> None:
    assert f"m64n{columns}k16" in wgmma_text([WgmmaShape(WgmmaType.F16, columns)])


@pytest.mark.parametrize("majors", [(Major.OUTER, Major.DEPTH), (Major.DEPTH, Major.OUTER)])
def test_tf32_is_read_by_depth(majors: tuple[Major, Major]) -> None:
    with pytest.raises(ValueError, match="by depth only"):
        WgmmaShape(WgmmaType.TF32, 8, *majors)


if __name__ == "__main__":
    TEXT.write_text(wgmma_text(SHAPES))
