"""How shares of examples are judged: one value per example and column, intervals for all at once, beside a control."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from chiasm.core.beside_control import BesideControl
from chiasm.core.claims import Claim
from chiasm.core.statistics.bands import ALPHA, Bands, over_shared_models
from chiasm.results.example_columns import (
    ERROR_SHARE,
    ExampleColumns,
    claims_of_columns,
    columns_of,
)
from chiasm.results.schemas import RANDOM_WEIGHTS

POINTS = "points"


def over_models(level: ExampleColumns, bands: Bands, rows: pl.DataFrame, least: float) -> Bands:
    """Differences from the controls `level`, beside one more model; column `sample` of `rows` says whose they are."""
    which = dict(rows.select("example_id", "sample").iter_rows()) if "sample" in rows.columns else {}
    models = [which.get(example, 0) for example in level.examples]
    return level.inside(over_shared_models(bands, level.values, level.present, models, smallest=least))


def beside_control(
    own: ExampleColumns, control: pl.DataFrame | None, least: float, seed: int, share: float = ERROR_SHARE
) -> list[BesideControl | None]:
    """Per column what the control shows, and whether the effect goes beyond it; None where few examples have it."""
    nothing: list[BesideControl | None] = [None] * len(own.columns)
    if control is None or not control.height:
        return nothing
    difference, level, chosen = own.less(columns_of(control))
    if not chosen:
        return nothing
    bands = over_models(level, difference.bands(least, seed, share), control, least)
    for j, k in enumerate(chosen):
        effect, mean, more = own.mean(k), level.mean(j), float(bands.mean[j])
        beyond = bool(bands.p[j] <= ALPHA and np.sign(more) == np.sign(effect) and abs(effect) > abs(mean))
        nothing[k] = BesideControl.of(RANDOM_WEIGHTS, mean, bands, j, difference.inputs_of(j), beyond)
    return nothing


def against_zero(
    kind: str, quantity: str, rows: pl.DataFrame, control: pl.DataFrame | None, least: float, seed: int
) -> list[Claim]:
    """A claim per column, against 0; and one of its kind with `-beyond`, against the control."""
    if not rows.height:
        return []
    own = share_columns(rows)
    beside = beside_control(own, control, least, seed)

    def controlled(k: int) -> tuple[bool | None, str | None, float | None]:
        null = beside[k]
        return (None, None, None) if null is None else (null.beyond, null.name, null.mean)

    common = {"kind": kind, "quantity": quantity, "unit": POINTS, "least": least, "controlled": controlled}
    return with_differences(claims_of_columns(own, own.bands(least, seed), **common), beside)


def with_differences(found: Sequence[Claim], beside: Sequence[BesideControl | None]) -> list[Claim]:
    """Each claim, and behind it the difference to what random weights show, where they stand beside it."""
    every: list[Claim] = []
    for one, null in zip(found, beside, strict=True):
        every.append(one)
        if null is not None:
            every.append(null.claim(one, f"{one.kind}-beyond", f"{one.quantity}; less that with random weights"))
    return every


def share_columns(rows: pl.DataFrame) -> ExampleColumns:
    """Of rows as `long_rows` gives them; shares differ by at most 100 points."""
    return columns_of(rows, limit=100.0)


def long_rows(rows: pl.DataFrame, about: pl.Expr, value: pl.Expr) -> pl.DataFrame:
    """Rows as `columns_of` takes them, of a share `value` (0 to 1), in points; inputs and models are kept."""
    kept = ["input"] if "input" in rows.columns else []
    kept += ["sample"] if "sample" in rows.columns else []
    return rows.select(
        "example_id", *kept, about=about.cast(pl.String), where=pl.col("layer"), value=(100 * value).cast(pl.Float64)
    )
