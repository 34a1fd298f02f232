"""What the attention and the words of a run say, every number from its tables; what figures compute as well."""

import numpy as np
import polars as pl

from chiasm.core.spans import PERCEPTUAL
from chiasm.core.statistics.intervals import ALPHA, runs_of_true, sign_flip_max_t
from chiasm.results.findings import Finding
from chiasm.results.series import Curve, curve, in_order, matrix
from chiasm.results.wording import estimate, percent

SHARE = pl.col("share") * 100
"""Of a query's attention, what a span takes (%)."""
OBJECT_SHARE = pl.col("object") * 100
"""Of the attention that falls on the image, the part on the object asked about (%)."""
IN_CAPTIONS = pl.col("in_captions").cast(pl.Float64) * 100
"""Of tokens, those whose nearest word stands in a caption (%)."""
_BASELINE = "in the random-weights baseline"


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
    inputs = ["input"] if "input" in rows.columns else []
    known = rows.select("example_id", *inputs).unique("example_id", maintain_order=True)
    return both.with_columns(object=pl.col("part") / pl.col("share"), area=pl.col("tokens") / pl.col("visible")).join(
        known, on="example_id", maintain_order="left"
    )


def percent_of_tokens(rows: pl.DataFrame, column: str) -> float:
    """The mean over examples of a share of tokens that is the same at every layer, in %."""
    return 100 * float(rows.unique("example_id")[column].mean() or 0)


def look_findings(
    shares: pl.DataFrame,
    controls: pl.DataFrame | None,
    lens: pl.DataFrame | None,
    lens_controls: pl.DataFrame | None,
    *,
    seed: int = 0,
) -> list[Finding]:
    """How much goes to the image and at which layer, whether the object asked about gets more than its part, words."""
    found = []
    for query in in_order(shares, "query"):
        found += [_taken(shares, controls, query, span) for span in perceived(shares)]
        found += _object(shares, controls, query, seed)
    if lens is not None and lens.height:
        found.append(_words(lens, lens_controls, " or ".join(perceived(shares))))
    found.append(_most_attended(shares))
    return sorted(found, key=lambda finding: -finding.strength)


def _taken(shares: pl.DataFrame, controls: pl.DataFrame | None, query: str, span: str) -> Finding:
    rows = shares.filter(query=query, span=span)
    measured = curve(rows, SHARE)
    top, low = int(np.argmax(measured.mean)), int(np.argmin(measured.mean))
    beside = ""
    if controls is not None and (control := controls.filter(query=query, span=span)).height:
        beside = f"; {_BASELINE} it is {_value(curve(control, SHARE), top)} there"
    text = (
        f"The {span} takes most of the attention of {query} at layer {_layer(measured, top)} "
        f"({_value(measured, top)}) and least at layer {_layer(measured, low)} ({_value(measured, low)}), where it "
        f"is {percent_of_tokens(rows, 'visible'):.0f} % of the visible tokens (n = {measured.n}){beside}."
    )
    return Finding(text, 2.0)


def _object(shares: pl.DataFrame, controls: pl.DataFrame | None, query: str, seed: int) -> list[Finding]:
    rows = object_rows(shares, query)
    if rows["example_id"].n_unique() < 2:
        return []
    gained = matrix(rows, pl.col("object") - pl.col("area"))
    test = sign_flip_max_t(gained.values, seed=seed, clusters=gained.inputs)
    measured = curve(rows, OBJECT_SHARE)
    area = percent_of_tokens(rows, "area")
    layers = runs_of_true((test.p <= ALPHA) & (test.mean > 0))
    top = int(np.argmax(measured.mean))
    most = f"most at layer {_layer(measured, top)}"
    beside = ""
    if controls is not None and (other := object_rows(controls, query)).height:
        beside = f" In the random-weights baseline it is {_value(curve(other, OBJECT_SHARE), top)}."
    if not layers:
        text = (
            f"From {query}, the object asked about gets no more of the image's attention than its part of the image "
            f"({area:.0f} %) at any layer (p > {ALPHA:g} corrected over layers; {most}: {_value(measured, top)}, "
            f"n = {measured.n}).{beside}"
        )
        return [Finding(text, 1.0)]
    where = " and ".join(_layers(measured, start, stop) for start, stop in layers)
    text = (
        f"From {query}, the object asked about gets more of the image's attention than its part of the image "
        f"({area:.0f} %) at {where}: {most} ({_value(measured, top)}, n = {measured.n}; "
        f"p ≤ {ALPHA:g} corrected over layers).{beside}"
    )
    return [Finding(text, 3.0)]


def _words(lens: pl.DataFrame, controls: pl.DataFrame | None, about: str) -> Finding:
    measured = curve(lens, IN_CAPTIONS)
    top = int(np.argmax(measured.mean))
    beside = ""
    if controls is not None and controls.height:
        beside = f"; {_BASELINE} {_value(curve(controls, IN_CAPTIONS), top)}"
    text = (
        f"The nearest word of a token of the {about} stands in a caption most often at hidden state "
        f"{_layer(measured, top)}: {_value(measured, top)} of the tokens (n = {measured.n}){beside}."
    )
    return Finding(text, 1.5)


def _most_attended(shares: pl.DataFrame) -> Finding:
    """The span that takes most over all layers."""
    rows = shares.filter(pl.col("span").is_in(top_level(shares)))
    means = rows.group_by("query", "span").agg(pl.col("share").mean()).sort("share", descending=True)
    query, span, share = means.rows()[0]
    text = f"Over all layers, {query} looks most at {span} ({percent(share)} of its attention on average)."
    return Finding(text, 0.5)


def _value(of: Curve, index: int) -> str:
    value = of.mean[index], of.low[index], of.high[index]
    return estimate(*value, unit="%", brackets=False, missing="no interval from one example")


def _layer(of: Curve, index: int) -> int:
    return int(of.places[index])


def _layers(of: Curve, start: int, stop: int) -> str:
    first, last = _layer(of, start), _layer(of, stop - 1)
    return f"layer {first}" if first == last else f"layers {first}-{last}"
