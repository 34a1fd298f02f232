"""Means over examples that sentences and figures share: whole images are drawn, and only maps that add up count."""

from typing import NamedTuple

import polars as pl

from chiasm.core.statistics.intervals import Estimate, mean_interval

COMPLETE = 0.05
"""The largest completeness error (share of what is to be explained) at which a map is shown and judged."""


class Pointing(NamedTuple):
    """Positive attribution on what is asked about, in %: `energy` on the boxes, and their `area`."""

    energy: Estimate
    area: Estimate


def complete(rows: pl.DataFrame) -> pl.DataFrame:
    """The maps that add up to the answer."""
    return rows.filter(pl.col("error") <= COMPLETE)


def estimate(rows: pl.DataFrame, value: str | pl.Expr) -> Estimate | None:
    """The mean of `value` over the examples that have it, images resampled whole; None where none has it.

    Several rows of one example (methods are filtered before) are averaged first.
    """
    what = pl.col(value) if isinstance(value, str) else value
    means = rows.group_by("example_id", "input", maintain_order=True).agg(what.cast(pl.Float64).mean().alias("value"))
    means = means.filter(pl.col("value").is_not_null() & pl.col("value").is_finite())
    if not means.height:
        return None
    return mean_interval(means["value"].to_numpy(), clusters=means["input"].to_list())


def pointing(rows: pl.DataFrame, method: str) -> Pointing | None:
    """How far one method points at what is asked about; None where no example has boxes to point at."""
    own = complete(rows).filter(pl.col("method") == method, pl.col("object").is_not_null())
    energy, area = (estimate(own, pl.col(name) * 100) for name in ("object", "area"))
    return None if energy is None or area is None else Pointing(energy, area)
