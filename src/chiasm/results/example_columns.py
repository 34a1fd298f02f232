"""One value per example and column, judged together: what claims of shares are made from.

A column is what a claim is about, and where (a layer). Intervals and p-values hold for all columns at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
import polars as pl
from jaxtyping import Bool, Float

from chiasm.core.claims import Claim
from chiasm.core.column_claims import column_claim
from chiasm.core.statistics.bands import Bands, mean_bands
from chiasm.results.series import in_order

ERROR_SHARE: Final = 0.2
"""Of the smallest effect worth naming, what a standard error counts as at least (see `mean_bands`)."""


@dataclass(frozen=True, slots=True)
class ExampleColumns:
    """Values by example and column. `present`: who has it; `limit`: values are at most so large in size, and so are the
    bounds of their means."""

    examples: tuple[str, ...]
    inputs: tuple[str, ...]
    columns: tuple[tuple[str, int], ...]
    values: Float[np.ndarray, "n k"]
    present: Bool[np.ndarray, "n k"]
    limit: float = np.inf

    def bands(self, least: float, seed: int, share: float = ERROR_SHARE) -> Bands:
        """Means with intervals that hold for all columns at once.

        `share`: of the smallest effect worth naming (`least`), what a standard error counts as at least.
        """
        error = share * least
        return self.inside(
            mean_bands(self.values, clusters=self.inputs, present=self.present, smallest_error=error, seed=seed)
        )

    def inside(self, bands: Bands) -> Bands:
        """Bounds that no value can pass, whatever the spread of a few inputs says."""
        return replace(bands, low=np.maximum(bands.low, -self.limit), high=np.minimum(bands.high, self.limit))

    def inputs_of(self, k: int) -> int:
        """How many different inputs are behind a column."""
        return len(set(np.array(self.inputs)[self.present[:, k]]))

    def of(self, about: str) -> list[int]:
        """The columns of one curve, by layer."""
        return [k for k, column in enumerate(self.columns) if column[0] == about]

    def mean(self, k: int) -> float:
        """The mean of a column over the examples that have it."""
        return float(self.values[self.present[:, k], k].mean())

    def like(self, other: "ExampleColumns") -> Self:
        """The values of `other` in its own examples and columns, where both have one."""
        row = {example: i for i, example in enumerate(other.examples)}
        place = {column: k for k, column in enumerate(other.columns)}
        values, present = np.zeros_like(self.values), np.zeros_like(self.present)
        rows = [(i, row[example]) for i, example in enumerate(self.examples) if example in row]
        both = [(k, place[column]) for k, column in enumerate(self.columns) if column in place]
        if rows and both:
            to, at = (np.ix_([one[s] for one in rows], [one[s] for one in both]) for s in (0, 1))
            values[to], present[to] = other.values[at], other.present[at]
        return replace(self, values=values, present=present & self.present)

    def less(self, other: "ExampleColumns") -> tuple["ExampleColumns", "ExampleColumns", list[int]]:
        """The paired differences to `other`, its own values beside them, and which columns these are.

        Columns that less than half of the examples have in both are left out: which have a control is no accident.
        """
        beside = self.like(other)
        count = beside.present.sum(axis=0)
        chosen = np.flatnonzero((count > 0) & (2 * count >= self.present.sum(axis=0)))
        differences = replace(beside, values=np.where(beside.present, self.values - beside.values, 0.0))
        return differences.part(chosen.tolist()), beside.part(chosen.tolist()), chosen.tolist()

    def part(self, chosen: Sequence[int]) -> Self:
        """Some of the columns."""
        names = tuple(self.columns[k] for k in chosen)
        return replace(self, columns=names, values=self.values[:, chosen], present=self.present[:, chosen])


def columns_of(rows: pl.DataFrame, limit: float = np.inf) -> ExampleColumns:
    """Of rows (example_id, about, where, value), and `input` where it was recorded.

    Several of one example in one column (draws) are averaged.
    """
    inputs = pl.coalesce("input", "example_id") if "input" in rows.columns else pl.col("example_id")
    who = rows.select("example_id", of=inputs).unique("example_id", keep="first").sort("example_id")
    means = rows.group_by("example_id", "about", "where").agg(pl.col("value").mean())
    order = {about: place for place, about in enumerate(in_order(rows, "about"))}
    columns = sorted(means.select("about", "where").unique().rows(), key=lambda one: (order[one[0]], one[1]))
    place, row = ({key: k for k, key in enumerate(keys)} for keys in (columns, who["example_id"]))
    values = np.zeros((who.height, len(columns)))
    present = np.zeros(values.shape, dtype=bool)
    for example, about, where, value in means.select("example_id", "about", "where", "value").iter_rows():
        values[row[example], place[about, where]], present[row[example], place[about, where]] = value, True
    return ExampleColumns(tuple(who["example_id"]), tuple(who["of"]), tuple(columns), values, present, limit)


def claims_of_columns(
    own: ExampleColumns,
    bands: Bands,
    *,
    kind: str,
    quantity: str,
    unit: str,
    least: float,
    controlled: Callable[[int], tuple[bool | None, str | None, float | None]] = lambda k: (None, None, None),
) -> list[Claim]:
    """A claim per column. `controlled`: of a column whether it goes beyond its control, that one's name and mean."""
    found = []
    for k, (about, where) in enumerate(own.columns):
        beyond, control, level = controlled(k)
        found.append(
            column_claim(
                bands,
                k,
                kind=kind,
                about=about,
                where=str(where),
                quantity=quantity,
                unit=unit,
                smallest=least,
                inputs=own.inputs_of(k),
                controlled=beyond,
                control=control,
                control_effect=level,
            )
        )
    return found
