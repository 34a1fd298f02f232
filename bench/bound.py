"""What a sweep must cost at least: the yardstick for the times.

The *operation bound* counts rows x layers: a variant of a causal decoder differs from the clean run only at positions
from its first cut query on and only from the first layer of its window on, and every such row costs the same linear
products as a clean row (docs/design/lockstep.md). It includes the clean pass and is given in clean passes. The *FLOP
bound* also counts attention over the keys each row may read, the vision tower and the head.
"""

from collections.abc import Sequence

import numpy as np

from bench.shapes import Shape
from chiasm.interventions import BlockedAttention, Variant


def rows_bound(shape: Shape, variants: Sequence[Variant], questions: int = 1, shared: int | None = None) -> float:
    """Rows x layers of the clean rows and of all variants, over those of one clean pass.

    `variants` are those of one question; `questions` on one image share their first `shared` positions.
    """
    own = shape.length - (shape.length if shared is None else shared)
    clean = shape.length + (questions - 1) * own
    carried = sum(_rows(shape, variant) * (shape.layers - variant.start) for variant in variants)
    return (clean * shape.layers + questions * carried) / (shape.length * shape.layers)


def flops_clean(shape: Shape) -> float:
    """One clean pass: vision tower, projector, decoder with causal attention, the head at the last position."""
    keys = shape.length * (shape.length + 1) / 2
    decoder = shape.layers * (shape.length * _linear(shape) + _attention(shape) * keys)
    return _vision(shape) + decoder + _head(shape)


def flops_sweep(shape: Shape, variants: Sequence[Variant], questions: int = 1, shared: int | None = None) -> float:
    """A sweep that computes no row twice and reads no key it need not read."""
    prefix = shape.length if shared is None else shared
    keys = shape.length * (shape.length + 1) / 2 - prefix * (prefix + 1) / 2
    own = shape.layers * ((shape.length - prefix) * _linear(shape) + _attention(shape) * keys) + _head(shape)
    carried = sum(_flops(shape, variant) for variant in variants)
    return flops_clean(shape) + (questions - 1) * own + questions * carried


def flops_bound(shape: Shape, variants: Sequence[Variant], questions: int = 1, shared: int | None = None) -> float:
    """`flops_sweep` in clean passes."""
    return flops_sweep(shape, variants, questions, shared) / flops_clean(shape)


def _rows(shape: Shape, variant: Variant) -> int:
    """Positions that can differ from the clean run; none if only the last layer of other rows than the last is cut."""
    queries = {row for change in variant.changes for row in change.rows}
    if variant.start == shape.layers - 1 and shape.length - 1 not in queries:
        return 0
    return shape.length - _first_row(variant)


def _first_row(variant: Variant) -> int:
    """The lowest position that any change touches."""
    return min(min(change.rows) for change in variant.changes)


def _flops(shape: Shape, variant: Variant) -> float:
    rows = _rows(shape, variant)
    if not rows:
        return 0.0
    depth = shape.layers - variant.start
    visible = depth * float(np.arange(_first_row(variant) + 1, shape.length + 1).sum())
    for change in variant.changes:
        if isinstance(change, BlockedAttention):
            queries, keys = np.array(change.queries), np.array(change.keys)
            blocked = int((keys[None, :] <= queries[:, None]).sum())
            visible -= blocked * (change.window.stop - change.window.start)
    return rows * depth * _linear(shape) + _attention(shape) * visible + _head(shape)


def _linear(shape: Shape) -> float:
    """The matrix products of one row in one layer."""
    return 2.0 * (4 * shape.width**2 + 3 * shape.width * shape.inner)


def _attention(shape: Shape) -> float:
    """Scores and weighted values of one (query, key) pair in one layer, all heads."""
    return 4.0 * shape.width


def _head(shape: Shape) -> float:
    return 2.0 * shape.width * shape.vocabulary


def _vision(shape: Shape) -> float:
    tokens, w = shape.image_tokens + 1, shape.tower_width
    layer = tokens * 2.0 * (4 * w**2 + 2 * w * shape.tower_inner) + 4.0 * w * tokens**2
    projector = 2.0 * shape.image_tokens * (w * shape.width + shape.width**2)
    return shape.tower_layers * layer + 2.0 * shape.image_tokens * 3 * shape.patch**2 * w + projector
