"""What two runs of `chiasm patch` are compared by: the share of the gap in every pair."""

from collections.abc import Mapping

import polars as pl

from chiasm.results.example_columns import ERROR_SHARE
from chiasm.results.series import with_inputs
from chiasm.results.values import ExampleValues, aligned, grid
from chiasm.studies.patch.shares import POINTS, QUANTITY, share_rows
from chiasm.studies.patch.tables import SAME_ANSWER, SHUFFLED, SMALLEST

_TAKEN_OFF = {SAME_ANSWER: "a donor of the same answer", SHUFFLED: "an unrelated donor"}


def values(tables: Mapping[str, pl.DataFrame], *, smallest: float | None = None) -> ExampleValues:
    """The values behind claims of the kind `recovery`, with the controls that they are judged against."""
    examples, controls = tables.get("examples"), tables.get("controls")
    least = SMALLEST if smallest is None else smallest
    found = _values(with_inputs(tables["effects"], examples), least)
    if controls is None:
        return found
    beside = {
        label: aligned(found, _values(rows, least))
        for name, label in _TAKEN_OFF.items()
        if (rows := controls.filter(control=name).drop_nulls("recovery")).height
    }
    return ExampleValues(
        found.kinds, found.quantity, found.unit, found.examples, found.inputs, found.columns, found.values,
        found.present, found.smallest, found.error, depth=found.depth, controls=beside,
    )  # fmt: skip


def _values(rows: pl.DataFrame, least: float) -> ExampleValues:
    depth = int(rows["stop"].max() or 0)  # type: ignore[arg-type]  # a column of numbers
    return ExampleValues(
        ("recovery",), QUANTITY, POINTS, *grid(share_rows(rows)), least, ERROR_SHARE * least, depth=depth
    )
