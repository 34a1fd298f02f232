"""What two runs of `chiasm flow` are compared by: the change of the answer's log-probability in every example."""

from collections.abc import Mapping
from dataclasses import replace

import polars as pl

from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.results.values import SHARED_MODELS, ExampleValues, aligned
from chiasm.studies.flow.judgement import control_label, layers_of, noise_floor
from chiasm.studies.flow.sweep import QUANTITY, of_controls, of_effects, sweep
from chiasm.studies.flow.tables import BLANK, ERROR_SHARE, SIZE_MATCHED, SMALLEST

_TAKEN_OFF = (SIZE_MATCHED, BLANK)


def values(tables: Mapping[str, pl.DataFrame], *, smallest: float | None = None) -> ExampleValues:
    """The values behind claims of the kind `effect`, with the controls that they are judged against."""
    controls = of_controls(tables)
    least = max(SMALLEST if smallest is None else smallest, noise_floor(tables.get("noise"), tables.get("rounding")))
    found = _values(of_effects(tables), least)
    if controls is None:
        return found
    there = set(controls["control"])
    return replace(
        found,
        controls={
            control_label(name): aligned(found, _values(controls.filter(control=name), least))
            for name in _TAKEN_OFF
            if name in there
        },
        other_controls={control_label(RANDOM_WEIGHTS): SHARED_MODELS} if RANDOM_WEIGHTS in there else {},
    )


def _values(rows: pl.DataFrame, least: float) -> ExampleValues:
    data = sweep(rows)
    columns = tuple((cut, data.where(k)) for k, (cut, *_) in enumerate(data.columns))
    return ExampleValues(
        ("effect",), QUANTITY, "nat", data.examples, data.inputs, columns, data.values, data.present, least,
        ERROR_SHARE * least, depth=layers_of(rows),
    )  # fmt: skip
