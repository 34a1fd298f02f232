"""Shares of the gap by pair, span, direction and layer: what claims and curves of a patching run are made from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from jaxtyping import Bool, Float

from chiasm.core.statistics.bands import Bands, mean_bands
from chiasm.results.series import in_order
from chiasm.studies.patch.tables import DENOISE

QUANTITY: Final = "share of the gap in log-probability"
QUANTITY_ODDS: Final = "share of the gap in log-odds of the two answers"
POINTS: Final = "%"
ERROR_SHARE: Final = 0.2
"""Of the smallest share worth naming: what a standard error counts as at least."""


@dataclass(frozen=True, slots=True)
class Shares:
    """One value (%) per example and column; a column is what a claim is about, and the layer. `present`: who has it."""

    examples: tuple[str, ...]
    inputs: tuple[str, ...]
    columns: tuple[tuple[str, int], ...]
    values: Float[np.ndarray, "n k"]
    present: Bool[np.ndarray, "n k"]

    def bands(self, least: float, seed: int) -> Bands:
        """Means with intervals that hold for all columns at once."""
        error = ERROR_SHARE * least
        return mean_bands(self.values, clusters=self.inputs, present=self.present, smallest_error=error, seed=seed)

    def inputs_of(self, k: int) -> int:
        """Different inputs behind a column."""
        return len(set(np.array(self.inputs)[self.present[:, k]]))

    def of(self, about: str) -> list[int]:
        """The columns of one curve, by layer."""
        return [k for k, column in enumerate(self.columns) if column[0] == about]


def named(span: str, direction: str, site: str) -> str:
    """What a curve is called: span, direction, and the site where it is none of the residual stream."""
    return f"{span}, {direction}" + ("" if site == "residual" else f", {site}")


def share_rows(rows: pl.DataFrame, value: str = "recovery") -> pl.DataFrame:
    """`example_id, about, where, value` (%), and `input` where it was recorded; those without a share are left out."""
    site = pl.when(pl.col("site") == "residual").then(pl.lit("")).otherwise(pl.format(", {}", "site"))
    kept = ["example_id", *(["input"] if "input" in rows.columns else [])]
    about = pl.concat_str(pl.col("span"), pl.lit(", "), pl.col("direction"), site)
    found = rows.drop_nulls(value)
    return found.select(*kept, about=about, where=pl.col("layer"), value=100 * pl.col(value))


def shares(rows: pl.DataFrame, value: str = "recovery") -> Shares:
    """The shares in `rows`; several of one example in one column (draws) are averaged."""
    found = share_rows(rows, value)
    inputs = pl.coalesce("input", "example_id") if "input" in found.columns else pl.col("example_id")
    who = found.select("example_id", of=inputs).unique("example_id").sort("example_id")
    order = {about: place for place, about in enumerate(in_order(found, "about"))}
    columns = sorted(found.select("about", "where").unique().rows(), key=lambda one: (order[one[0]], one[1]))
    place = {column: k for k, column in enumerate(columns)}
    row = {example: i for i, example in enumerate(who["example_id"])}
    values = np.zeros((len(row), len(columns)))
    present = np.zeros(values.shape, dtype=bool)
    means = found.group_by("example_id", "about", "where").agg(pl.col("value").mean())
    for example, about, where, number in means.select("example_id", "about", "where", "value").iter_rows():
        values[row[example], place[about, where]], present[row[example], place[about, where]] = number, True
    return Shares(tuple(row), tuple(who["of"]), tuple(columns), values, present)


def like(own: Shares, other: Shares) -> tuple[Float[np.ndarray, "n k"], Bool[np.ndarray, "n k"]]:
    """The values of `other` in the examples and columns of `own`, and which both have."""
    row = {example: i for i, example in enumerate(other.examples)}
    place = {column: k for k, column in enumerate(other.columns)}
    values, present = np.zeros_like(own.values), np.zeros_like(own.present)
    rows = [(i, row[example]) for i, example in enumerate(own.examples) if example in row]
    both = [(k, place[column]) for k, column in enumerate(own.columns) if column in place]
    if rows and both:
        to, at = (np.ix_([one[s] for one in rows], [one[s] for one in both]) for s in (0, 1))
        values[to], present[to] = other.values[at], other.present[at]
    return values, present & own.present


def directions_in(rows: pl.DataFrame) -> Sequence[str]:
    """The directions that a run has, denoise first."""
    return sorted(rows["direction"].unique().to_list(), key=lambda one: one != DENOISE)
