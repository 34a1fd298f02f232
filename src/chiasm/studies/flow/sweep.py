"""Differences of log-probabilities by example, cut and window: what claims and curves of a flow run are made from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Bool, Float

from chiasm.results.series import in_order

QUANTITY = "change of the answer's log-probability"
LOGPROB = pl.col("logprob_cut") - pl.col("logprob_clean")


@dataclass(frozen=True, slots=True)
class Sweep:
    """One value per example and column; a column is a cut in a window. `present`: which examples have it."""

    examples: tuple[str, ...]
    inputs: tuple[str, ...]
    types: tuple[str, ...]
    columns: tuple[tuple[str, int, int, int], ...]
    values: Float[np.ndarray, "n k"]
    present: Bool[np.ndarray, "n k"]

    def of_cut(self, cut: str) -> list[int]:
        """The columns of one cut, by layer."""
        return [k for k, column in enumerate(self.columns) if column[0] == cut]

    def part(self, rows: Bool[np.ndarray, " n"], columns: Sequence[int]) -> "Sweep | None":
        """Some of the examples, and those of the columns that any of them has; None where nothing is left."""
        present = self.present[rows][:, columns]
        kept, some = present.any(axis=0), present.any(axis=1)
        if not kept.any():
            return None
        at = np.flatnonzero(rows)[some]
        chosen = [column for column, there in zip(columns, kept, strict=True) if there]
        names = [tuple(one[i] for i in at) for one in (self.examples, self.inputs, self.types)]
        cells = np.ix_(at, chosen)
        columns_kept = tuple(self.columns[k] for k in chosen)
        return Sweep(names[0], names[1], names[2], columns_kept, self.values[cells], self.present[cells])

    def where(self, k: int) -> str:
        """The layer of a column; where several windows share one, the window's layers."""
        cut, layer, start, stop = self.columns[k]
        alone = sum(other[:2] == (cut, layer) for other in self.columns) == 1
        return str(layer) if alone else f"{start}-{stop - 1}" if stop - start > 1 else str(start)


def sweep(
    rows: pl.DataFrame, columns: Sequence[tuple[str, int, int, int]] | None = None, of: pl.Expr = LOGPROB
) -> Sweep:
    """The differences of log-probabilities, or `of`, in `rows` (several draws of one example are averaged)."""
    key = ("cut", "layer", "start", "stop")
    value = of.mean().alias("value")
    inputs = pl.coalesce("input", "example_id") if "input" in rows.columns else pl.col("example_id")
    means = rows.group_by("example_id", *key).agg(value, inputs.first().alias("of_input"), pl.col("type").first())
    who = means.group_by("example_id").agg(pl.col("of_input").first(), pl.col("type").first()).sort("example_id")
    if columns is None:
        order = {cut: place for place, cut in enumerate(in_order(rows, "cut"))}
        found = means.select(key).unique().rows()
        columns = sorted(found, key=lambda one: (order[one[0]], *one[1:]))
    place = {column: k for k, column in enumerate(columns)}
    row = {example: i for i, example in enumerate(who["example_id"])}
    values = np.zeros((len(row), len(columns)))
    present = np.zeros((len(row), len(columns)), dtype=bool)
    for example, *column, number in means.select("example_id", *key, "value").iter_rows():
        k = place.get((column[0], column[1], column[2], column[3]))
        if k is not None:
            values[row[example], k], present[row[example], k] = number, True
    return Sweep(tuple(row), tuple(who["of_input"]), tuple(who["type"]), tuple(columns), values, present)
