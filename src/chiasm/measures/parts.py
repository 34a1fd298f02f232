"""Quantities that contrasts are made of, part by part: what each group of whole inputs adds to them."""

from typing import Any

import numpy as np
from jaxtyping import Float

from chiasm.core.statistics.jackknife import changes

PARTS = "parts"
"""The table of these rows. A contrast of any of them has the same contrast of their changes, so that its interval
draws whole inputs of all of them at once."""


def part_rows(
    quantity: str,
    values: Float[np.ndarray, " K"] | None,
    counts: Float[np.ndarray, " G"],
    *,
    a: str,
    b: str = "",
    layer: int | None = None,
) -> list[dict[str, Any]]:
    """One row for each group that holds an example; none where the quantity has no value without one of them.

    `values`: on all groups and without each one (`without_each`); `counts`: examples of each group.
    """
    if values is None or not np.isfinite(values).all():
        return []
    about = {"quantity": quantity, "a": a, "b": b, "layer": layer, "value": float(values[0])}
    return [
        about | {"part": int(g), "change": float(change), "n": int(counts[g])}
        for g, change in enumerate(changes(values, counts))
        if counts[g]
    ]
