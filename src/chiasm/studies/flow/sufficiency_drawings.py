"""Answers right against the number of routes that are open, on the half that chose and on the half that judges."""

from functools import partial
from typing import Final

import polars as pl

from chiasm.results.charts.lines import MEASURED, Axes, Chart, Line, line_chart
from chiasm.results.charts.theme import Size, counted
from chiasm.results.report import Drawing
from chiasm.results.series import curve
from chiasm.studies.flow.tables import CHOOSING, JUDGING, OPEN, RANDOM, SEARCH

_LABELS: Final = {JUDGING: "examples that judge", CHOOSING: "examples that chose"}


def sufficiency_drawings(rows: pl.DataFrame | None, chosen: pl.DataFrame | None) -> dict[str, Drawing]:
    """`sufficient`, where a search was run; from the tables `sufficiency` (with `input`) and `sufficient_routes`."""
    if rows is None or chosen is None or not chosen.height:
        return {}
    searched = rows.filter(routes=SEARCH)
    return {"sufficient": Drawing(partial(sufficiency_chart, searched, chosen), partial(_caption, searched, chosen))}


def sufficiency_chart(rows: pl.DataFrame, chosen: pl.DataFrame, size: Size) -> Chart:
    """Lines by half; dashed as many random routes, on the half that judges."""
    lines = []
    for style, half in enumerate((JUDGING, CHOOSING)):
        own = rows.filter(half=half, open=OPEN)
        if own.height:
            lines.append(Line(_LABELS[half], curve(own, _right(), over="size"), style))
    random = rows.filter(half=JUDGING, open=RANDOM)
    if random.height:
        lines.append(Line(_LABELS[JUDGING], curve(random, _right(), over="size"), 0, "as many random routes"))
    axes = Axes("Routes open between spans", "Answers right (%)", limits=(0.0, 100.0))
    n = counted([line.curve.n for line in lines if line.role == MEASURED])
    kept = int(chosen["kept"].sum())
    said = f"The search stopped at {kept} of {chosen.height}. Bands: 95 % intervals, for all of a line at once; {n}."
    title = "How few routes keep the answers?"
    return line_chart(lines, axes, size, title=title, subtitle=said, legend="half of the examples")


def _right() -> pl.Expr:
    return 100.0 * pl.col("right_kept").cast(pl.Float64)


def _caption(rows: pl.DataFrame, chosen: pl.DataFrame) -> str:
    judged, chose = (rows.filter(half=half)["example_id"].n_unique() for half in (JUDGING, CHOOSING))
    random = rows.filter(open=RANDOM).height > 0
    beside = (
        " Dashed: as many random routes, in an order of its own for every example."
        if random
        else " No control was run: what as many other routes would keep is not known."
    )
    kept = int(chosen["kept"].sum())
    return (
        f"Share of answers that are right with so many of {chosen.height} routes between top-level spans open, in the "
        f"order in which the search closed the others; it stopped at {kept}. It chose by {chose} examples and is "
        f"judged on {judged} others. Attention within a span and to the prefix is never closed: it is all that is left "
        f"with 0 routes open.{beside}"
    )
