"""Differences of log-probabilities by example, cut and window: what claims and curves of a flow run are made from."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Bool, Float

from chiasm.results.frames import some_of
from chiasm.results.series import in_order, with_inputs
from chiasm.studies.flow.tables import OF_CONTROLS, OF_EFFECTS

QUANTITY = "change of the answer's log-probability"
LOGPROB = pl.col("logprob_cut") - pl.col("logprob_clean")


_FEW_VALUES = ("type", "cut", "control")
_SMALL = ("layer", "start", "stop", "sample")


def of_effects(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """What claims and figures need of the table `effects`, in half of its memory, with the input of every example.

    **Errors:** `KeyError` where there is no such table.
    """
    return _compact(tables, "effects", OF_EFFECTS)


def of_controls(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame | None:
    """The same of the table `controls`; None where there is none."""
    return _compact(tables, "controls", OF_CONTROLS) if "controls" in tables else None


def _compact(tables: Mapping[str, pl.DataFrame], name: str, columns: Sequence[str]) -> pl.DataFrame:
    rows = some_of(tables, name, columns)
    rows = rows.with_columns(
        pl.col(column).cast(kind)
        for several, kind in ((_FEW_VALUES, pl.Categorical), (_SMALL, pl.Int16))
        for column in several
        if column in rows.columns
    )
    return with_inputs(rows, tables.get("examples"))


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
        return self.places([k])[0]

    def places(self, chosen: Sequence[int] | None = None) -> list[str]:
        """The same of some columns, or of all."""
        sharing = Counter(column[:2] for column in self.columns)
        columns = self.columns if chosen is None else [self.columns[k] for k in chosen]
        return [
            str(layer) if sharing[cut, layer] == 1 else f"{start}-{stop - 1}" if stop - start > 1 else str(start)
            for cut, layer, start, stop in columns
        ]


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
    places = pl.DataFrame(list(columns), schema={name: means.schema[name] for name in key}, orient="row")
    placed = means.join(places.with_row_index("column"), on=key).join(
        who.select("example_id").with_row_index("row"), on="example_id"
    )
    at = placed["row"].to_numpy(), placed["column"].to_numpy()
    values = np.zeros((who.height, len(columns)))
    present = np.zeros((who.height, len(columns)), dtype=bool)
    values[at], present[at] = placed["value"].to_numpy(), True
    examples = tuple(who["example_id"])
    return Sweep(examples, tuple(who["of_input"]), tuple(who["type"]), tuple(columns), values, present)
