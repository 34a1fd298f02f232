"""Where the tokens of an image may look: grids that fit their number, over canvases that processors make.

A rule reads nothing but what the processor returned, how many tokens it wrote, and the image's own size. Which rule
holds for a model is found by painting boxes; one that does not fit an image gives it no places.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from chiasm.core.errors import ChiasmError
from chiasm.models.families.base import Medium
from chiasm.models.families.grids import (
    Rects,
    cells,
    nearest_shape,
    no_places,
    original_canvas,
    processed_canvas,
    tiles,
)
from chiasm.models.geometry import Canvas

UNKNOWN: Final = "unknown"


class Seen(NamedTuple):
    """An image as a rule sees it: its tokens are `count`; `inputs` is what the processor made of the example."""

    image: Medium
    count: int
    inputs: Mapping[str, Any]
    processor: Any
    per_tile: int


class Grid(NamedTuple):
    """Rows and columns of tokens over an image; `breaks`: a separator behind every row."""

    rows: int
    columns: int
    breaks: bool = False


class Placed(NamedTuple):
    """Places of all tokens, with the kind of tile of each and which are separators."""

    rects: Rects
    tile: np.ndarray
    newline: np.ndarray


GridRule = Callable[[Seen], Iterator[Grid]]
CanvasRule = Callable[[Seen], Canvas | None]


def returned_sizes(seen: Seen) -> Iterator[tuple[int, int]]:
    """Every pair (high, wide) that the processor returned for this image, in patches or in pixels."""
    for value in seen.inputs.values():
        if isinstance(value, list) and value and all(isinstance(one, list | tuple) and len(one) == 2 for one in value):
            # Pairs that a processor hands out as plain numbers.
            numbers = all(isinstance(number, int) for one in value for number in one)
            value = torch.tensor(value) if numbers else value
        if not isinstance(value, Tensor) or value.is_floating_point() or value.ndim not in (2, 3):
            continue
        rows = value.reshape(-1, value.shape[-1])
        if rows.shape[-1] in (2, 3) and seen.image.index < len(rows):
            high, wide = (int(n) for n in rows[seen.image.index, -2:])
            if high > 0 and wide > 0:
                yield high, wide


def by_returned_sizes(seen: Seen) -> Iterator[Grid]:
    """The processor's own grid, whole cells of it merged into a token."""
    for high, wide in returned_sizes(seen):
        for merged in range(1, min(high, wide) + 1):
            for rounded in (math.floor, math.ceil):
                rows, columns = rounded(high / merged), rounded(wide / merged)
                if rows * columns == seen.count:
                    yield Grid(rows, columns)
                elif rows * (columns + 1) == seen.count:
                    yield Grid(rows, columns, breaks=True)


def square(seen: Seen) -> Iterator[Grid]:
    """As many rows as columns."""
    side = math.isqrt(seen.count)
    if side * side == seen.count:
        yield Grid(side, side)


def by_shape(seen: Seen) -> Iterator[Grid]:
    """The rows and columns whose shape comes nearest to the image's."""
    yield Grid(*nearest_shape(seen.count, seen.image.width, seen.image.height))


def stretched(seen: Seen) -> Canvas:
    """All of the image, brought to the shape of the grid."""
    return original_canvas(seen.image)


def resized_and_cropped(seen: Seen) -> Canvas | None:
    """The steps that the image processor's own settings name; None where it has no such settings."""
    steps = seen.processor.image_processor
    if any(getattr(steps, name, None) is None for name in ("do_resize", "do_center_crop", "size", "crop_size")):
        return None
    return processed_canvas(original_canvas(seen.image), steps)


def padded_on_both_sides(seen: Seen) -> Canvas:
    """A square with as much padding before the image as behind it."""
    return original_canvas(seen.image).square()


def padded_behind(seen: Seen) -> Canvas:
    """A square whose upper left corner is the image's."""
    whole = original_canvas(seen.image)
    side = max(whole.width, whole.height)
    return whole.frame(0, 0, side, side)


_GRIDS: Final[dict[str, GridRule]] = {
    "the processor's grid": by_returned_sizes,
    "a square grid": square,
    "a grid of the image's shape": by_shape,
}
_CANVASES: Final[dict[str, CanvasRule]] = {
    "the stretched image": stretched,
    "the resized and cropped image": resized_and_cropped,
    "the image padded on both sides": padded_on_both_sides,
    "the image padded behind": padded_behind,
}
_TILES: Final[tuple[str, ...]] = ("tiles, then the whole image", "the whole image, then tiles", "tiles alone")
_TILED_CANVASES: Final[dict[str, Callable[[Canvas, int, int], Canvas]]] = {
    "stretched": lambda whole, rows, columns: whole,
    "padded on both sides": lambda whole, rows, columns: _fitted(whole, rows, columns, centred=True),
    "padded behind": lambda whole, rows, columns: _fitted(whole, rows, columns, centred=False),
}
RULES: Final[tuple[str, ...]] = (
    *(f"{grid} over {canvas}" for grid in _GRIDS for canvas in _CANVASES),
    *(f"{order}, {canvas}" for order in _TILES for canvas in _TILED_CANVASES),
)
"""Every rule by name, the simplest first: of those that paintings bear out alike, the first is taken."""


def places(rule: str, seen: Seen) -> Placed | None:
    """Where the tokens look by `rule`; None where it does not fit this image."""
    if rule == UNKNOWN or not seen.count:
        return None
    grid, over, canvas = rule.partition(" over ")
    try:
        if over:
            return _on_grid(seen, _GRIDS[grid], _CANVASES[canvas])
        order, _, how = rule.rpartition(", ")
        return _tiled(seen, order, _TILED_CANVASES[how])
    except ChiasmError:
        # Such as an image processor that resizes to no size known here.
        return None


def _on_grid(seen: Seen, rule: GridRule, over: CanvasRule) -> Placed | None:
    grid, canvas = next(rule(seen), None), over(seen)
    if grid is None or canvas is None:
        return None
    rects = cells(canvas, grid.rows, grid.columns)
    if grid.breaks:
        lines = rects.reshape(grid.rows, grid.columns, 4)
        rects = np.concatenate([lines, np.full((grid.rows, 1, 4), np.nan)], axis=1).reshape(-1, 4)
    return Placed(rects, np.full(len(rects), "base"), np.isnan(rects[:, 0]))


def _tiled(seen: Seen, order: str, over: Callable[[Canvas, int, int], Canvas]) -> Placed | None:
    side = math.isqrt(seen.per_tile)
    if not side or side * side != seen.per_tile or seen.count % seen.per_tile:
        return None
    whole = original_canvas(seen.image)
    count = seen.count // seen.per_tile - (order != "tiles alone")
    base = cells(whole, side, side)
    if count == 0:
        return Placed(base, np.full(len(base), "base"), np.zeros(len(base), dtype=bool))
    rows, columns = _tile_grid(seen, count)
    fine = tiles(over(whole, rows, columns), rows, columns, side)
    views = {"hd": fine}
    if order != "tiles alone":
        views = {"hd": fine, "base": base} if order.startswith("tiles") else {"base": base, "hd": fine}
    rects = np.concatenate([no_places(0), *views.values()])
    tile = np.repeat(list(views), [len(one) for one in views.values()])
    return Placed(rects, tile, np.zeros(len(rects), dtype=bool))


def _tile_grid(seen: Seen, count: int) -> tuple[int, int]:
    """Rows and columns of tiles: as the processor returned them, or those of the image's shape."""
    for rows, columns in returned_sizes(seen):
        if rows * columns == count:
            return rows, columns
    return nearest_shape(count, seen.image.width, seen.image.height)


def _fitted(whole: Canvas, rows: int, columns: int, *, centred: bool) -> Canvas:
    """The image as large as rows x columns squares allow, its shape kept, and padding around or behind it."""
    scale = max(whole.width / columns, whole.height / rows)
    wide, high = math.ceil(columns * scale), math.ceil(rows * scale)
    left, top = (-((wide - whole.width) // 2), -((high - whole.height) // 2)) if centred else (0, 0)
    return whole.frame(left, top, wide, high)
