"""What two runs of `chiasm eval` are compared by: right and wrong answers, over all types and in each."""

from collections.abc import Mapping

import polars as pl

from chiasm.results.series import in_order, with_inputs
from chiasm.results.values import ExampleValues, grid
from chiasm.studies.eval.claims import ALL
from chiasm.studies.eval.tables import SMALLEST


def values(tables: Mapping[str, pl.DataFrame], *, smallest: float | None = None) -> ExampleValues:
    """The values behind claims of the kinds `right` and `type-right`."""
    rows = with_inputs(tables["eval"], tables.get("examples"))
    rows = rows.with_columns(where=pl.lit("all"), value=100.0 * pl.col("correct").cast(pl.Float64))
    types = in_order(rows, "type")
    # A type may be called `all`: over it the sum of all stands.
    parts = [rows.with_columns(about=pl.lit(ALL))]
    parts += [
        rows.filter(type=name).with_columns(about=pl.lit(name)) for name in types if len(types) > 1 and name != ALL
    ]
    least = SMALLEST if smallest is None else smallest
    kinds = ("right", "type-right")
    return ExampleValues(kinds, "right answers", "%", *grid(pl.concat(parts)), least, 0.0, right=True)
