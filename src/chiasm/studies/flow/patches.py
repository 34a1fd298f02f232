"""Which patches matter for this question: each is cut on its own, in the sweep that is made anyway."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from chiasm.models.encoding.encoded import ImageLayout

MOST_PATCHES = 150
"""Super-patches per image where no size is given: a map of about 12 x 12, some clean passes' worth of rows."""


class SuperPatch(NamedTuple):
    """Neighbouring patches cut together: their positions, and their rectangle in pixels of the original image."""

    number: int
    tile: str
    rect: tuple[float, float, float, float]
    positions: tuple[int, ...]


def super_patches(layouts: Sequence[ImageLayout], side: int | None) -> list[SuperPatch]:
    """The patches of the first image in blocks of `side` x `side`, tile by tile, in reading order.

    Tokens that look at no place (newlines, a class token) are left out.
    """
    if not layouts:
        return []
    layout = layouts[0]
    placed = ~layout.newline & ~np.isnan(layout.rects).any(axis=1)
    count = int(placed.sum())
    chosen = max(1, math.ceil(math.sqrt(count / MOST_PATCHES))) if side is None else side
    found = [part for tile in dict.fromkeys(layout.tile[placed]) for part in _blocks(layout, placed, tile, chosen)]
    return [part._replace(number=number) for number, part in enumerate(found)]


def _blocks(layout: ImageLayout, placed: np.ndarray, tile: str, side: int) -> Iterator[SuperPatch]:
    chosen = np.flatnonzero(placed & (layout.tile == tile))
    rects = layout.rects[chosen]
    # Neighbouring patches share an edge up to rounding of the resized picture.
    columns = _ranks(rects[:, 0], rects[:, 2] - rects[:, 0]) // side
    rows = _ranks(rects[:, 1], rects[:, 3] - rects[:, 1]) // side
    for row in np.unique(rows):
        for column in np.unique(columns[rows == row]):
            members = (rows == row) & (columns == column)
            inside = rects[members]
            rect = (*inside[:, :2].min(axis=0), *inside[:, 2:].max(axis=0))
            positions = layout.positions[chosen[members]]
            yield SuperPatch(0, str(tile), tuple(float(v) for v in rect), tuple(int(p) for p in positions))


def _ranks(starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The place of each start in the grid, counted from 0; starts less than half a patch apart are one place."""
    order = np.argsort(starts, kind="stable")
    steps = np.diff(starts[order]) > float(np.median(sizes)) / 2
    ranks = np.empty(len(starts), dtype=np.int64)
    ranks[order] = np.concatenate([[0], np.cumsum(steps)])
    return ranks
