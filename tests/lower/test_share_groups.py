"""How consumers share a tile: only as their products can, and so that they read least."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from moedsl.lower.resources.specialised import share_groups

LINES = st.sampled_from([8, 16, 64, 64, 192]).flatmap(
    lambda unit: st.integers(1, 640 // unit).map(unit.__mul__)
)


def pieces(flat: int, consumers: int) -> list[int]:
    """Flat positions of the products of a tile's side that so many consumers share."""
    products = consumers * (1 if flat <= 256 * consumers else 2)
    return [flat // products] * products if flat % products == 0 else []


def reads(tall: int, flat: int) -> int:
    """Lines of 16 bytes that a consumer reads for one step of depth of 32 bytes."""
    return tall // 64 * 2 * (64 + flat)


@given(LINES, LINES, st.integers(1, 4), st.booleans(), st.booleans())
def test_the_grid_that_reads_least(
    height: int, columns: int, groups: int, swap_ab: bool, inner: bool
) -> None:
    sides = (columns, height) if swap_ab else (height, columns)
    legal = {}
    for along in (n for n in range(1, groups + 1) if groups % n == 0):
        talls, flats = (groups // along, along) if swap_ab else (along, groups // along)
        parts = pieces(sides[1], flats)
        unit = 8 if inner or len(parts) == 1 else 64
        if sides[0] % (64 * talls) == 0 and parts and parts[0] <= 256 and parts[0] % unit == 0:
            legal[along] = reads(sides[0] // talls, sides[1] // flats)
    found = share_groups(height, columns, groups, swap_ab, inner)
    if found is None:
        assert not legal
    else:
        assert (found.height, found.rows * found.columns) == (height, groups)
        assert legal[found.rows] == min(legal.values())
