"""Operand panels: what a tile multiplies, in f32, zero where the tile reaches over the edge."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

from moedsl.ir.core import Compute
from moedsl.subscript import read, round_tf32

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from moedsl.ir.core import Access
    from moedsl.subscript import Array, Positions

    F32 = NDArray[np.float32]

CACHE_BYTES = 1 << 30
"""Converted panels kept at a time: an expert's weights of the largest layers in use."""


class Panels:
    """Panels of one call, converted once while they stay in use (least recently used go first)."""

    def __init__(self, arrays: Mapping[str, Array], compute: Compute) -> None:
        self._arrays, self._compute = arrays, compute
        self._kept: OrderedDict[tuple[object, ...], F32] = OrderedDict()
        self._bytes = 0

    def panel(
        self, access: Access, where: Mapping[str, Positions], along: str, over: str, extent: int
    ) -> F32:
        """``access`` at the positions ``where``, f32[extent, depth]: ``along`` by ``over``.

        Positions of ``along`` beyond those in ``where`` are zero.
        """
        key = (access, extent, *(_frozen(where[index]) for index in access.indices))
        panel = self._kept.get(key)
        if panel is None:
            panel = self._make(access, where, along, over, extent)
            self._kept[key] = panel
            self._bytes += panel.nbytes
            while self._bytes > CACHE_BYTES and len(self._kept) > 1:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
        self._kept.move_to_end(key)
        return panel

    def _make(
        self, access: Access, where: Mapping[str, Positions], along: str, over: str, extent: int
    ) -> F32:
        values = read(self._arrays, access, where, (along, over))
        panel = np.zeros((extent, values.shape[1]), np.float32)
        panel[: len(values)] = values
        return round_tf32(panel) if self._compute is Compute.TF32 else panel


def _frozen(spot: Positions) -> object:
    return (spot.start, spot.stop) if isinstance(spot, slice) else spot
