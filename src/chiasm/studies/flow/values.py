"""What two runs of `chiasm flow` are compared by: the change of the answer's log-probability in every example."""

from collections.abc import Mapping

import polars as pl

from chiasm.results.series import with_inputs
from chiasm.results.values import ExampleValues
from chiasm.studies.flow.judgement import noise_floor
from chiasm.studies.flow.sweep import QUANTITY, sweep
from chiasm.studies.flow.tables import ERROR_SHARE, SMALLEST


def values(tables: Mapping[str, pl.DataFrame], *, smallest: float | None = None) -> ExampleValues:
    """The values behind claims of the kind `effect`."""
    data = sweep(with_inputs(tables["effects"], tables.get("examples")))
    least = max(SMALLEST if smallest is None else smallest, noise_floor(tables.get("noise"), tables.get("rounding")))
    columns = tuple((cut, data.where(k)) for k, (cut, *_) in enumerate(data.columns))
    return ExampleValues(
        ("effect",), QUANTITY, "nat", data.examples, data.inputs, columns, data.values, data.present, least,
        ERROR_SHARE * least,
    )  # fmt: skip
