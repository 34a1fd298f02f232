"""What two runs of `chiasm look` are compared by: attention to what is shown or played, beyond its share of tokens."""

from collections.abc import Mapping

import polars as pl

from chiasm.results.example_columns import ERROR_SHARE
from chiasm.results.series import with_inputs
from chiasm.results.values import SHARED_MODELS, ExampleValues, grid
from chiasm.studies.look.claims import SHARE, share_rows
from chiasm.studies.look.judging import POINTS
from chiasm.studies.look.tables import SMALLEST


def values(tables: Mapping[str, pl.DataFrame], *, smallest: float | None = None) -> ExampleValues:
    """The values behind claims of the kind `share`."""
    rows = share_rows(with_inputs(tables["shares"], tables.get("examples")))
    least = SMALLEST if smallest is None else smallest
    controls = tables.get("shares_controls")
    beside = {} if controls is None or not controls.height else {"random weights": SHARED_MODELS}
    depth = int(tables["shares"]["layer"].max() or 0) + 1  # type: ignore[arg-type]  # a column of numbers
    least_error = ERROR_SHARE * least
    return ExampleValues(
        ("share",), SHARE, POINTS, *grid(rows), least, least_error, depth=depth, other_controls=beside
    )  # fmt: skip
