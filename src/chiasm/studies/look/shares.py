"""What sentences and figures compute of the tables alike: spans, and how much of the attention the object takes."""

import polars as pl

from chiasm.core.spans import PERCEPTUAL
from chiasm.results.series import in_order

SHARE = pl.col("share") * 100
"""Of a query's attention, what a span takes (%)."""
OBJECT_SHARE = pl.col("object") * 100
"""Of the attention that falls on the image, the part on the object asked about (%)."""
IN_CAPTIONS = pl.col("in_captions").cast(pl.Float64) * 100
"""Of tokens, those whose nearest word stands in a caption (%)."""


def top_level(shares: pl.DataFrame) -> list[str]:
    """The top-level spans that were attended to, in reading order; sub-spans carry a dot, single images a bracket."""
    return [span for span in in_order(shares, "span") if "." not in span and "[" not in span]


def perceived(shares: pl.DataFrame) -> list[str]:
    """What the examples show and play."""
    return [span for span in PERCEPTUAL if span in in_order(shares, "span")]


def object_rows(shares: pl.DataFrame, query: str) -> pl.DataFrame:
    """One row per example and layer: `object` of the image's attention on the object, `area` of its tokens."""
    rows = shares.filter(query=query)
    keys = ["example_id", "layer"]
    whole = rows.filter(span="image").select(*keys, "share", "visible")
    part = rows.filter(span="image.object").select(*keys, part="share", tokens="visible")
    both = whole.join(part, on=keys, maintain_order="left").filter(pl.col("share") > 0)
    kept = [name for name in ("input", "sample") if name in rows.columns]
    known = rows.select("example_id", *kept).unique("example_id", maintain_order=True)
    return both.with_columns(object=pl.col("part") / pl.col("share"), area=pl.col("tokens") / pl.col("visible")).join(
        known, on="example_id", maintain_order="left"
    )


def percent_of_tokens(rows: pl.DataFrame, column: str) -> float:
    """The mean over examples of a share of tokens that is the same at every layer, in %."""
    return 100 * float(rows.unique("example_id")[column].mean() or 0)
