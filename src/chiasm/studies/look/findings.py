"""Findings of `chiasm look` in words, every number from its tables."""

import numpy as np
import polars as pl

from chiasm.core.statistics.intervals import runs_of_true, sign_flip_max_t
from chiasm.results.findings import Finding
from chiasm.results.series import Curve, curve, in_order, matrix
from chiasm.studies.flow.judgement import ALPHA
from chiasm.studies.look.summary import OBJECT_SHARE, object_rows, perceived


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
        for span in perceived(shares):
            found += _taken(shares, controls, query, span)
        found += _object(shares, controls, query, seed)
    if lens is not None and lens.height:
        found += _words(lens, lens_controls, " or ".join(perceived(shares)))
    found += _sequence(shares)
    return sorted(found, key=lambda finding: -finding.strength)


def _taken(shares: pl.DataFrame, controls: pl.DataFrame | None, query: str, span: str) -> list[Finding]:
    chosen = (pl.col("query") == query) & (pl.col("span") == span)
    rows = shares.filter(chosen)
    measured = curve(rows, pl.col("share") * 100)
    top, least = int(np.argmax(measured.mean)), int(np.argmin(measured.mean))
    tokens = 100 * float(rows.unique("example_id")["visible"].mean() or 0)
    beside = ""
    if controls is not None and controls.filter(chosen).height:
        twin = curve(controls.filter(chosen), pl.col("share") * 100)
        beside = f"; in the random-weights twin it is {_told(twin, top)} there"
    text = (
        f"The {span} takes most of the attention of {query} at layer {_place(measured, top)} "
        f"({_told(measured, top)}) and least at layer {_place(measured, least)} ({_told(measured, least)}), where it "
        f"is {tokens:.0f} % of the visible tokens (n = {measured.n}){beside}."
    )
    return [Finding(text, 2.0)]


def _object(shares: pl.DataFrame, controls: pl.DataFrame | None, query: str, seed: int) -> list[Finding]:
    rows = object_rows(shares, query)
    if rows.height < 2 or rows["example_id"].n_unique() < 2:
        return []
    gained = matrix(rows, pl.col("object") - pl.col("area"))
    test = sign_flip_max_t(gained.values, seed=seed, clusters=gained.inputs)
    measured = curve(rows, OBJECT_SHARE)
    area = 100 * float(rows.unique("example_id")["area"].mean() or 0)
    layers = [(a, b) for a, b in runs_of_true((test.p <= ALPHA) & (test.mean > 0))]
    top = int(np.argmax(measured.mean))
    beside = ""
    if controls is not None and (other := object_rows(controls, query)).height:
        beside = f" In the random-weights twin it is {_told(curve(other, OBJECT_SHARE), top)}."
    if not layers:
        text = (
            f"From {query}, the object asked about gets no more of the image's attention than its part of the image "
            f"({area:.0f} %) at any layer (p > {ALPHA:g} corrected over layers; most at layer {_place(measured, top)}: "
            f"{_told(measured, top)}, n = {measured.n}).{beside}"
        )
        return [Finding(text, 1.0)]
    told = " and ".join(_range(measured, a, b) for a, b in layers)
    text = (
        f"From {query}, the object asked about gets more of the image's attention than its part of the image "
        f"({area:.0f} %) at {told}: most at layer {_place(measured, top)} ({_told(measured, top)}, n = {measured.n}; "
        f"p ≤ {ALPHA:g} corrected over layers).{beside}"
    )
    return [Finding(text, 3.0)]


def _words(lens: pl.DataFrame, controls: pl.DataFrame | None, about: str) -> list[Finding]:
    told = pl.col("in_captions").cast(pl.Float64) * 100
    measured = curve(lens, told)
    top = int(np.argmax(measured.mean))
    beside = ""
    if controls is not None and controls.height:
        beside = f"; in the random-weights twin {_told(curve(controls, told), top)}"
    text = (
        f"The nearest word of a token of the {about} stands in a caption most often at hidden state "
        f"{_place(measured, top)}: {_told(measured, top)} of the tokens (n = {measured.n}){beside}."
    )
    return [Finding(text, 1.5)]


def _sequence(shares: pl.DataFrame) -> list[Finding]:
    """What else is looked at: the span that takes most over all layers."""
    rows = shares.filter(~pl.col("span").str.contains(r"[.\[]"))
    means = rows.group_by("query", "span").agg(pl.col("share").mean()).sort("share", descending=True)
    query, span, share = means.rows()[0]
    text = f"Over all layers, {query} looks most at {span} ({100 * share:.0f} % of its attention on average)."
    return [Finding(text, 0.5)]


def _told(c: Curve, index: int) -> str:
    if np.isnan(c.low[index]):
        return f"{c.mean[index]:.1f} %, no interval from one example"
    return f"{c.mean[index]:.1f} %, 95 % interval {c.low[index]:.1f} to {c.high[index]:.1f}"


def _place(c: Curve, index: int) -> int:
    return int(c.places[index])


def _range(c: Curve, start: int, stop: int) -> str:
    first, last = _place(c, start), _place(c, stop - 1)
    return f"layer {first}" if first == last else f"layers {first}-{last}"
