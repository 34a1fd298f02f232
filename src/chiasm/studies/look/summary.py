"""What figures and sentences of `chiasm look` compute from its tables."""

from collections.abc import Sequence

import polars as pl

from chiasm.results.series import in_order

PERCEIVED = ("image", "video", "audio")
OBJECT_SHARE = pl.col("object") * 100
"""Of the attention that falls on the image, the part on the object asked about (%)."""


def spans_of(shares: pl.DataFrame) -> list[str]:
    """The top-level spans that were looked at, in reading order; sub-spans carry a dot, single images a bracket."""
    return [span for span in in_order(shares, "span") if "." not in span and "[" not in span]


def perceived(shares: pl.DataFrame) -> list[str]:
    """What the examples show and play."""
    return [span for span in PERCEIVED if span in in_order(shares, "span")]


def object_rows(shares: pl.DataFrame, query: str) -> pl.DataFrame:
    """One row per example and layer: `object` of the image's attention on the object, `area` of its tokens."""
    rows = shares.filter(pl.col("query") == query)
    keys = ["example_id", "layer"]
    whole = rows.filter(pl.col("span") == "image").select(*keys, "share", "visible")
    part = rows.filter(pl.col("span") == "image.object").select(*keys, part="share", tokens="visible")
    both = whole.join(part, on=keys, maintain_order="left").filter(pl.col("share") > 0)
    inputs = ["input"] if "input" in rows.columns else []
    known = rows.select("example_id", *inputs).unique("example_id", maintain_order=True)
    return both.with_columns(object=pl.col("part") / pl.col("share"), area=pl.col("tokens") / pl.col("visible")).join(
        known, on="example_id", maintain_order="left"
    )


def placed(rows: pl.DataFrame, places: pl.DataFrame, keys: Sequence[str]) -> pl.DataFrame:
    """`rows` of one example beside the patches of one picture that they are about; separators are left out.

    `keys`: `span` and `index` (table `attention`), or `position` (table `lens`).
    """
    grid = places.filter(pl.col("x0").is_not_null())
    base = grid.filter(pl.col("tile") == "base")
    grid = base if base.height else grid
    return rows.join(grid.select(*keys, "x0", "y0", "x1", "y1"), on=list(keys), maintain_order="left")
