"""Which patches of an image an answer rests on: coalitions of patches as variants, and what each patch adds.

The value of a coalition is the log-probability of the followed tokens while its patches are visible and all others are
hidden: in all layers, from every row behind them that is not itself of what was perceived. Image tokens go on reading
each other, so a patch stands for all that its position holds, in a decoder also for what it read of patches before it.

Legend: n patches, N permutations.
"""

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from chiasm.core.statistics.intervals import critical
from chiasm.interventions import BlockedAttention, Variant, Window
from chiasm.models.encoded import Encoded, ImageLayout
from chiasm.studies.flow.tables import KEEP_ONE, LEAVE_ONE_OUT, SHAPLEY

MAX_PATCHES = 150
"""Super-patches per image where no size of them is wanted (`patch_size=None`)."""


class SuperPatch(NamedTuple):
    """Neighbouring patches cut together: their positions, and their rectangle in pixels of the original image."""

    number: int
    tile: str
    rect: tuple[float, float, float, float]
    positions: tuple[int, ...]

    @property
    def columns(self) -> dict[str, Any]:
        """Its columns in the table `patches`."""
        return dict(zip(("x0", "y0", "x1", "y1"), self.rect, strict=True)) | {"patch": self.number, "tile": self.tile}


class Coalitions(NamedTuple):
    """The coalitions of the patches of one image that are run.

    `places`: which variant each is, by the patches that it leaves visible; that of all patches is the clean run.
    `in_object`: whether a patch lies under a box; None where there are no boxes. `orders`: permutations of the patches.
    """

    parts: tuple[SuperPatch, ...]
    in_object: tuple[bool, ...] | None
    orders: tuple[Int[np.ndarray, " n"], ...]
    places: Mapping[bytes, int]
    variants: tuple[Variant, ...]

    def values(self, clean: float, measured: Sequence[float]) -> Iterator[tuple[str, int, float, float, float, int]]:
        """(method, patch, value, low, high, n): what each patch adds (nat), in all methods; NaN for no interval.

        `clean`, `measured`: log-probabilities with all patches visible, and of every variant. Leave-one-out: all
        patches less all but this one. Keep-one: this one alone less none. Shapley: the mean over `orders` of what the
        patch adds when patches appear in that order, whose sum is all less none for each; with a 95 % interval over
        orders by Student's t.

        Source: Shapley 1953; sampled orders, Castro, Gomez & Tejada 2009 (Computers & Operations Research 36).
        Assumption of the interval: the mean over orders is nearly normal.
        """
        n = len(self.parts)

        def value(visible: Bool[np.ndarray, " n"]) -> float:
            return clean if visible.all() else measured[self.places[visible.tobytes()]]

        nothing, alone = value(np.zeros(n, dtype=bool)), np.eye(n, dtype=bool)
        for patch in range(n):
            yield LEAVE_ONE_OUT, patch, clean - value(~alone[patch]), math.nan, math.nan, 1
        for patch in range(n):
            yield KEEP_ONE, patch, value(alone[patch]) - nothing, math.nan, math.nan, 1
        if not self.orders:
            return
        added = np.empty((len(self.orders), n))
        for k, order in enumerate(self.orders):
            reached = [value(visible) for visible in growing(order)]
            added[k, order] = np.diff(reached)
        mean, half = _over_orders(added)
        for patch in range(n):
            low, high = mean[patch] - half[patch], mean[patch] + half[patch]
            yield SHAPLEY, patch, float(mean[patch]), float(low), float(high), len(self.orders)


def coalitions(
    parts: Sequence[SuperPatch],
    encoded: Encoded,
    window: Window,
    *,
    permutations: int,
    key: tuple[int, str],
    boxes: bool,
) -> Coalitions:
    """Every patch hidden alone, every patch kept alone, none at all, and the steps of so many `permutations`.

    `window`: the layers in which patches are hidden. `key`: (seed, example), so that orders depend on nothing else.
    `boxes`: whether the example has any.
    """
    n = len(parts)
    rng = np.random.default_rng([key[0], zlib.crc32(key[1].encode()), zlib.crc32(b"shapley")])
    orders = tuple(rng.permutation(n) for _ in range(permutations))
    hide = _Hiding(parts, encoded, window)
    alone = np.eye(n, dtype=bool)
    places: dict[bytes, int] = {}
    variants: list[Variant] = []

    def add(name: str, visible: Bool[np.ndarray, " n"]) -> None:
        code = visible.tobytes()
        if code not in places and not visible.all():
            places[code] = len(variants)
            variants.append(Variant(name, hide.all_but(visible)))

    for part in parts:
        add(f"patch {part.number}", ~alone[part.number])
    for part in parts:
        add(f"patch {part.number} alone", alone[part.number])
    add("no patch", np.zeros(n, dtype=bool))
    for k, order in enumerate(orders):
        for step, visible in enumerate(growing(order)):
            add(f"order {k}, {step} patches", visible)
    under = None
    if boxes:
        on_object = encoded.spans["image.object"]
        under = tuple(bool(np.isin(part.positions, on_object).any()) for part in parts)
    return Coalitions(tuple(parts), under, orders, places, tuple(variants))


def growing(order: Int[np.ndarray, " n"]) -> Iterator[Bool[np.ndarray, " n"]]:
    """The coalitions from none to all in which patches appear in this order."""
    visible = np.zeros(len(order), dtype=bool)
    yield visible.copy()
    for patch in order:
        visible[patch] = True
        yield visible.copy()


class _Hiding:
    """Patches hidden from every row behind them that is not itself of what was perceived.

    From all of these, since one row left open would hand on what it read: patches are many, and each says little.
    """

    def __init__(self, parts: Sequence[SuperPatch], encoded: Encoded, window: Window) -> None:
        self._parts, self._window = parts, window
        self._rows = np.setdiff1d(np.arange(encoded.length), encoded.spans.perceptual)
        # Patches of one image mostly have the same rows behind them; text between tiles makes a difference.
        self._from = [int(np.searchsorted(self._rows, part.positions[-1])) for part in parts]

    def all_but(self, visible: Bool[np.ndarray, " n"]) -> tuple[BlockedAttention, ...]:
        keys: dict[int, list[int]] = {}
        for hidden in np.flatnonzero(~visible).tolist():
            keys.setdefault(self._from[hidden], []).extend(self._parts[hidden].positions)
        return tuple(self._hidden(start, tuple(found)) for start, found in keys.items())

    def _hidden(self, start: int, keys: tuple[int, ...]) -> BlockedAttention:
        return BlockedAttention(self._window, tuple(self._rows[start:].tolist()), keys)


def _over_orders(added: Float[np.ndarray, "N n"]) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """The means over orders, and how far their 95 % intervals reach to either side; NaN of a single order."""
    count = len(added)
    if count < 2:
        return added.mean(axis=0), np.full(added.shape[1], math.nan)
    return added.mean(axis=0), critical(clusters=count) * added.std(axis=0, ddof=1) / math.sqrt(count)


def super_patches(layouts: Sequence[ImageLayout], side: int | None) -> list[SuperPatch]:
    """The patches of the first image in blocks of `side` x `side`, tile by tile, in reading order.

    `side` None: as many as keep the blocks to `MAX_PATCHES`. Tokens that look at no place (newlines, a class token) are
    left out: they are visible in every coalition.
    """
    if not layouts:
        return []
    layout = layouts[0]
    placed = ~layout.newline & ~np.isnan(layout.rects).any(axis=1)
    count = int(placed.sum())
    chosen = max(1, math.ceil(math.sqrt(count / MAX_PATCHES))) if side is None else side
    found = [part for tile in dict.fromkeys(layout.tile[placed]) for part in _blocks(layout, placed, tile, chosen)]
    return [part._replace(number=number) for number, part in enumerate(found)]


def _blocks(layout: ImageLayout, placed: np.ndarray, tile: str, side: int) -> Iterator[SuperPatch]:
    chosen = np.flatnonzero(placed & (layout.tile == tile))
    rects = layout.rects[chosen]
    # Neighbouring patches share an edge up to rounding of the resized image.
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
