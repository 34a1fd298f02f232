"""What two runs of `chiasm eval` are compared by: right and wrong answers, over all types and in each."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import polars as pl

from chiasm.results.series import in_order, with_inputs
from chiasm.results.values import ExampleValues, aligned, grid
from chiasm.studies.eval.claims import ALL, BLANKED, ERROR_SHARE
from chiasm.studies.eval.tables import SMALLEST


def values(tables: Mapping[str, pl.DataFrame], *, smallest: float | None = None) -> ExampleValues:
    """The values behind claims of the kinds `right` and `type-right`, and the answers with the image blanked."""
    examples, blind = tables.get("examples"), tables.get("blind")
    rows = with_inputs(tables["eval"], examples)
    types = in_order(rows, "type")
    least = SMALLEST if smallest is None else smallest
    found = _values(rows, types, least)
    if blind is None:
        return found
    return replace(found, controls={BLANKED: aligned(found, _values(with_inputs(blind, examples), types, least))})


def _values(rows: pl.DataFrame, types: Sequence[str], least: float) -> ExampleValues:
    rows = rows.with_columns(where=pl.lit("all"), value=100.0 * pl.col("correct").cast(pl.Float64))
    # A type may be called `all`: over it the sum of all stands.
    parts = [rows.with_columns(about=pl.lit(ALL))]
    parts += [
        rows.filter(type=name).with_columns(about=pl.lit(name)) for name in types if len(types) > 1 and name != ALL
    ]
    kinds = ("right", "type-right")
    shown = grid(pl.concat(parts))
    return ExampleValues(kinds, "right answers", "%", *shown, least, ERROR_SHARE * least, right=True)
