"""A table `parts` made from one value per input, as a run makes it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from chiasm.core.statistics.jackknife import GROUPS, group_of, means_without_each
from chiasm.measures.parts import part_rows

Values = Mapping[Any, np.ndarray]
"""By quantity, spans and layer (None where it is of all)."""


def parts(values: Values, inputs: Sequence[str] | None = None) -> pl.DataFrame:
    """The rows of quantities whose values per example are `values`; `inputs`: what each example asks about."""
    rows = []
    for (quantity, a, b, layer), of_examples in values.items():
        names = [f"input {k}" for k in range(len(of_examples))] if inputs is None else inputs
        groups = [group_of(name) for name in names]
        sums, counts = np.zeros(GROUPS), np.zeros(GROUPS)
        np.add.at(sums, groups, of_examples)
        np.add.at(counts, groups, 1.0)
        rows += part_rows(quantity, means_without_each(sums, counts), counts, a=a, b=b, layer=layer)
    return pl.DataFrame(rows, schema_overrides={"layer": pl.Int64})


def under(control: str, values: Values) -> pl.DataFrame:
    """The same rows of a control, for `parts_controls`."""
    return parts(values).with_columns(control=pl.lit(control))
