"""Which positions of two runs correspond: the same place in the same part of the sequence."""

import numpy as np

from chiasm.core.errors import ExampleError
from chiasm.core.spans import PERCEPTUAL
from chiasm.models.encoded import Encoded, ImageLayout


class Correspondence:
    """Positions of one run by those of another, part by part; parts of different length have none."""

    def __init__(self, own: Encoded, other: Encoded) -> None:
        self._own, self._other = own, other
        self._at = np.full(own.length, -1)
        self._lengths: dict[str, tuple[int, int]] = {}
        theirs = other.spans.top_level()
        for name, positions in own.spans.top_level().items():
            match = theirs.get(name, positions[:0])
            if len(match) != len(positions):
                self._lengths[name] = (len(positions), len(match))
            else:
                self._at[positions] = match

    def of(self, span: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The positions of `span` in both runs, one by one.

        **Errors:** `ExampleError` that says which part differs; `EmptySpanError` for a span without positions.
        """
        return self.at(self._own.spans.require(span), span)

    def at(self, positions: np.ndarray, span: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Some positions of the one run, and those of the other.

        **Errors:** as `of`.
        """
        there = self._at[positions]
        if (there < 0).any():
            part = self._own.spans.label(int(positions[there < 0][0]))
            own, other = self._lengths[part]
            raise ExampleError(f"{span}: {part} has {own} tokens here and {other} in its donor, so none corresponds")
        if any(self._own.spans.label(int(p)) in PERCEPTUAL for p in positions[:1]):
            _require_alike(self._own.layouts, self._other.layouts, span)
        return tuple(map(int, positions)), tuple(map(int, there))

    def known(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Those of some positions that have one in the other run, and these."""
        found = positions[self._at[positions] >= 0]
        return found, self._at[found]


def _require_alike(own: tuple[ImageLayout, ...], other: tuple[ImageLayout, ...], span: str) -> None:
    """Refuse images whose tokens are as many and lie at other places, as of a wide and a high one."""
    for one, two in zip(own, other, strict=False):
        if not one.has_places or not two.has_places or len(one.rects) != len(two.rects):
            continue
        a, b = (layout.rects / np.array([layout.width, layout.height] * 2) for layout in (one, two))
        if not np.allclose(a, b, atol=0.02, equal_nan=True):
            sizes = " and ".join(f"{layout.width} x {layout.height}" for layout in (one, two))
            raise ExampleError(f"{span}: tokens of the two images ({sizes} pixels) lie at different places")
