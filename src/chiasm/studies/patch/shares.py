"""Shares of the gap by pair, span, direction and layer: what claims and curves of a patching run are made from."""

from collections.abc import Sequence
from typing import Final

import polars as pl

from chiasm.results.example_columns import ExampleColumns, columns_of
from chiasm.studies.patch.tables import DENOISE

QUANTITY: Final = "share of the gap in log-probability"
QUANTITY_ODDS: Final = "share of the gap in log-odds of the two answers"
POINTS: Final = "%"


def named(span: str, direction: str, site: str) -> str:
    """What a curve is called: span, direction, and the site where it is none of the residual stream."""
    return f"{span}, {direction}" + ("" if site == "residual" else f", {site}")


def share_rows(rows: pl.DataFrame, value: str = "recovery") -> pl.DataFrame:
    """`example_id, about, where, value` (%), and `input` where it was recorded; those without a share are left out."""
    site = pl.when(pl.col("site") == "residual").then(pl.lit("")).otherwise(pl.format(", {}", "site"))
    kept = ["example_id", *(["input"] if "input" in rows.columns else [])]
    about = pl.concat_str(pl.col("span"), pl.lit(", "), pl.col("direction"), site)
    found = rows.drop_nulls(value)
    return found.select(*kept, about=about, where=pl.col("layer"), value=100 * pl.col(value))


def shares(rows: pl.DataFrame, value: str = "recovery") -> ExampleColumns:
    """The shares in `rows` (%) by span, direction and site, and layer."""
    return columns_of(share_rows(rows, value))


def directions_in(rows: pl.DataFrame) -> Sequence[str]:
    """The directions that a run has, denoise first."""
    return sorted(rows["direction"].unique().to_list(), key=lambda one: one != DENOISE)
