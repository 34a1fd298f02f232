"""Runs of models of unlike depth: layers are compared at the same share of the depth, and never by their number."""

from collections.abc import Sequence
from dataclasses import replace

from chiasm.results.diff.differences import Side


def depth_of(side: Side) -> int | None:
    """How many layers the model of a run has; None where nothing of it is by layer."""
    if side.values is not None:
        return side.values.depth
    layers = [int(one.where) for one in side.claims if one.where.isdecimal()]
    return max(layers) + 1 if layers else None


def same_share(first: int, second: int) -> dict[int, int]:
    """Layers of a model with `second` layers, each with the nearest one at its share of the depth in one with `first`.

    First goes with first and last with last; of the deeper model only the layers nearest to those of the other.
    """
    if second <= first:
        return {there: _nearest(there, second, first) for there in range(second)}
    return {_nearest(here, first, second): here for here in range(first)}


def _nearest(layer: int, of: int, beside: int) -> int:
    return round(layer * (beside - 1) / (of - 1)) if of > 1 else 0


def at_depths_of(first: Side, second: Side) -> Side:
    """The second run with its layers called as those of the first at the same share of the depth, where depths differ.

    What has no layer there, as ranges of layers, which are no share of both depths, is not compared.
    """
    own, there = depth_of(first), depth_of(second)
    if own is None or there is None or own == there or second.values is None:
        return second
    names = {str(layer): str(at) for layer, at in same_share(own, there).items()} | {"all": "all"}
    kinds = second.values.kinds
    claims = [
        replace(one, where=names[one.where]) if one.kind in kinds else one
        for one in second.claims
        if one.kind not in kinds or one.where in names
    ]
    return replace(second, claims=claims, values=second.values.at_layers(names))


def unlike_depths(sides: Sequence[Side]) -> list[str]:
    """What is said of every run whose model is not as deep as the first one's."""
    first, found = sides[0], []
    own = depth_of(first)
    for side in sides[1:]:
        there = depth_of(side)
        if own is None or there is None or own == there:
            continue
        text = f"{first.label} has {own} layers and {side.label} {there}: "
        if side.values is None:
            found.append(f"{text}claims by layer stand side by side by its number, which is another depth in each.")
            continue
        pairs = ", ".join(f"{at} with {layer}" for layer, at in sorted(same_share(own, there).items()))
        found.append(f"{text}layers are compared at the same share of the depth, called as in {first.label} ({pairs}).")
    return found
