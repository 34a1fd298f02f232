"""The maps of a run's patches: in a grid what was asked, the image, and every method beside it."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import polars as pl

from chiasm.results.charts.lines import Chart
from chiasm.results.charts.pictures import Panel, Row, Tint, picture_chart, unseen
from chiasm.results.charts.theme import Size
from chiasm.results.images import KeptImage
from chiasm.results.report import Drawing
from chiasm.results.series import in_order
from chiasm.studies.flow import captions, maps
from chiasm.studies.flow.tables import LEAVE_ONE_OUT

REPORTED = 6
"""Maps in a report: where there are more, at even steps from the weakest to the strongest."""
MIN_REACH = 0.1
"""Nats at the ends of the colour scale, unless an effect is larger: less is hardly a change."""
_TINT = Tint("adds to the log-probability (nat)", least=MIN_REACH, own=True)
_HOW = "Orange speaks for what is followed, purple against; n = 1 example: no interval"


class MapOfOne(NamedTuple):
    """One example's map: the kept image, its patches with their `value` by method, what was asked, and what was
    answered."""

    kept: KeptImage
    methods: Mapping[str, pl.DataFrame]
    question: str = ""
    answer: str = ""


def map_drawings(
    kept: Mapping[str, KeptImage],
    patches: pl.DataFrame,
    values: pl.DataFrame | None,
    examples: pl.DataFrame | None,
) -> dict[str, Drawing]:
    """`patches`, a grid of `REPORTED` examples with an image, and each example alone, numbered as they were asked.

    `values`: the table `patch_values`, which runs of the version before lack.
    """
    asked = [example for example in in_order(patches, "example_id") if example in kept]
    if not asked:
        return {}
    known = asked if values is None else [one for one in maps.by_strength(values) if one in kept]
    shown = known[:REPORTED] if values is None else [one for one in maps.at_even_steps(values, REPORTED) if one in kept]
    of = {example: partial(_map, kept[example], patches, values, examples, example) for example in asked}
    rows = [of[example] for example in shown]
    drawn = {"patches": _drawing(rows, f"{len(shown)} of {len(asked)}" if len(shown) < len(asked) else "")}
    for number, example in enumerate(asked):
        drawn[f"patches-{number}"] = _drawing([of[example]], reported=False)
    return drawn


def _drawing(rows: Sequence[Callable[[], MapOfOne]], some: str = "", *, reported: bool = True) -> Drawing:
    return Drawing(
        lambda size: patch_maps([row() for row in rows], size),
        lambda: captions.patches([row().methods for row in rows], any(_cropped(row()) for row in rows), some),
        reported=reported,
    )


def patch_maps(examples: Sequence[MapOfOne], size: Size) -> Chart:
    """A row for each example: the image, and what each patch adds (nat) by every method, on one scale of colours.

    **Errors:** `ValueError` for rows of several examples or none, or without any method.
    """
    own = " Each row has a scale of its own." if len(examples) > 1 else ""
    title = "Which patches of the image speak for the answer?"
    return picture_chart([_row(one) for one in examples], size, title=title, subtitle=f"{_HOW}.{own}", tint=_TINT)


def _row(one: MapOfOne) -> Row:
    if not one.methods:
        raise ValueError("a patch map shows at least one method")
    panels = [Panel("image", one.kept.pixels, one.kept.boxes)]
    for method, found in one.methods.items():
        if found["example_id"].n_unique() != 1:
            raise ValueError(f"a patch map shows one example, found {found['example_id'].n_unique()}")
        said = [name for name in ("patch", "low", "high") if name in found.columns and found[name].count()]
        for title, rows in _views(found, method).items():
            shown = pl.col("value").reshape((-1, 1)).arr.to_list().alias("shown")
            panels.append(
                Panel(title, one.kept.pixels, one.kept.boxes, rows.select("x0", "y0", "x1", "y1", shown, *said))
            )
    return Row(panels, one.question, one.answer)


def _views(rows: pl.DataFrame, method: str) -> dict[str, pl.DataFrame]:
    """The panels of one method by title: the whole image, and tiles of higher resolution where there are any."""
    base = pl.col("tile") == "base"
    views = {method: rows.filter(base), f"{method}, tiles": rows.filter(~base)}
    there = {title: found for title, found in views.items() if found.height}
    return there if len(there) > 1 else {method: rows}


def _cropped(one: MapOfOne) -> bool:
    height, width = one.kept.pixels.shape[:2]
    return any(unseen(rows, width, height) for rows in one.methods.values())


def _map(
    kept: KeptImage,
    patches: pl.DataFrame,
    values: pl.DataFrame | None,
    examples: pl.DataFrame | None,
    example: str,
) -> MapOfOne:
    rows = kept.placed(patches.filter(pl.col("example_id") == example))
    asked = None if examples is None else examples.filter(pl.col("example_id") == example)
    question, label = ("", "") if asked is None or not asked.height else asked.select("question", "answer").row(0)
    if values is None:
        change = rows.with_columns(value=pl.col("logprob_clean") - pl.col("logprob_cut"))
        return MapOfOne(kept, {LEAVE_ONE_OUT: change}, question, f"Label: {label}." if asked is not None else "")
    own = values.filter(pl.col("example_id") == example)
    columns = [name for name in ("patch", "value", "low", "high") if name in own.columns]
    methods = {
        method: rows.join(own.filter(pl.col("method") == method).select(columns), on="patch", maintain_order="left")
        for method in in_order(own, "method")
    }
    followed = f"Followed: {own['answer'][0]}."
    return MapOfOne(kept, methods, question, f"Label: {label}. {followed}" if label else followed)
