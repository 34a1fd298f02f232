"""The examples of a look run one by one: which part takes the attention by layer, and where on the picture it lies."""

from collections.abc import Sequence
from typing import Final

import polars as pl

from chiasm.results.charts.theme import PALETTE, span_style
from chiasm.results.examples import Browsed, PatchMap, Series, ShownExample, first_shown
from chiasm.results.series import in_order
from chiasm.studies.look.shares import perceived, top_level

_CORNERS: Final = ("x0", "y0", "x1", "y1")
_MEAN: Final = "mean"
_OBJECT: Final = "image.object"


def browsed(
    shares: pl.DataFrame, examples: pl.DataFrame, attention: pl.DataFrame, places: pl.DataFrame | None
) -> Browsed:
    """`shares`: of the attention of each query, by span and layer; `attention`, on the `places` of pictures."""
    query, layers = in_order(shares, "query")[0], sorted(shares["layer"].unique())
    # As the chart of shares draws them, and the object asked about.
    spans = [*top_level(shares), *([_OBJECT] if _OBJECT in shares["span"] else [])]
    own, total = first_shown(shares.filter(pl.col("span").is_in(spans), query=query))
    wide = own.pivot(on="layer", index=["example_id", "span"], values="share", aggregate_function="first")
    curves: dict[str, dict[str, list[float | None]]] = {}
    for example, span, *values in wide.select("example_id", "span", *map(str, layers)).iter_rows():
        curves.setdefault(example, {})[span] = [None if one is None else 100 * one for one in values]
    maps = {} if places is None else _maps(attention, places)
    known = examples.filter(pl.col("example_id").is_in(list(curves)))
    shown = [
        ShownExample(
            row["example_id"],
            row["type"],
            row["question"],
            row["answer"],
            curves=curves[row["example_id"]],
            maps=maps.get(row["example_id"], ()),
        )
        for row in known.iter_rows(named=True)
    ]
    series = tuple(Series(span, span, PALETTE[span_style(span)]) for span in spans)
    axes = ("Layer", f"Share of the attention of {query} (%)")
    by = next(iter(perceived(shares)), "")
    return Browsed(
        shown,
        "largest share",
        "%",
        layers,
        axes,
        series,
        "Share of the attention (%)",
        "largest share",
        by=by,
        total=total,
    )


def _maps(attention: pl.DataFrame, places: pl.DataFrame) -> dict[str, tuple[PatchMap, ...]]:
    """By query, layer and head, on the first picture of each example; means over heads before single heads."""
    first = places.filter(pl.col("picture") == pl.col("picture").first().over("example_id")).drop_nulls(_CORNERS)
    base = first.filter(tile="base")
    corners = (base if base.height else first).select("example_id", "span", "index", *_CORNERS)
    placed = attention.join(corners, on=["example_id", "span", "index"], maintain_order="left")
    found: dict[str, list[PatchMap]] = {}
    keys = ["example_id", "query", "layer", "head"]
    for (example, query, layer, head), rows in placed.group_by(keys, maintain_order=True):
        named = "mean over heads" if head == _MEAN else f"head {head}"
        choice = (f"attention of {query}", f"layer {layer}", named)
        drawn = PatchMap(choice, rows.select(_CORNERS).rows(), [100 * one for one in rows["weight"]])
        found.setdefault(str(example), []).append(drawn)
    return {example: tuple(_means_first(maps)) for example, maps in found.items()}


def _means_first(maps: Sequence[PatchMap]) -> list[PatchMap]:
    return sorted(maps, key=lambda one: not one.choice[2].startswith(_MEAN))
