"""Doses of a cut, windows of layers, answers and words read from hidden states."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from chiasm.core.statistics.bands import mean_bands
from chiasm.results.charts.grid import Cell, Shades, Sides, grid_chart
from chiasm.results.charts.lines import MEASURED, Axes, Chart, Line, line_chart
from chiasm.results.charts.theme import Size, arrow, counted, cut_style
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.results.series import Curve, curve, in_order, inputs_of, of_type
from chiasm.studies.flow.curves import chosen_cuts, left
from chiasm.studies.flow.judgement import control_label
from chiasm.studies.flow.sweep import LOGPROB
from chiasm.studies.flow.tables import dose_share

_STATE = "Hidden state (0 = embeddings)"
_NAMES = {"lower": "answer, lower case", "capital": "answer, capitalised"}
_STYLES = {"lower": 0, "capital": 1, "other option": 2, "other option, capitalised": 3, "other options": 2}
# Options whose names are the words themselves differ from question to question: beyond this they are drawn as one.
_MOST_FORMS = 6


def dose_curve(effects: pl.DataFrame, controls: pl.DataFrame, size: Size, *, cuts: Sequence[str] = ()) -> Chart:
    """The probability left against the random share of a cut's own keys, where the whole cut hurts most.

    `cuts`: which to draw; all that have doses by default.
    """
    doses = controls.with_columns(
        pl.col("control").map_elements(dose_share, return_dtype=pl.Float64, skip_nulls=False).alias("share")
    ).filter(pl.col("share").is_not_null())
    found = []
    for cut in chosen_cuts(effects, cuts):
        part = doses.filter(pl.col("cut") == cut)
        if not part.height:
            continue
        # Doses stand beside a cut only in examples that have no size-matched control.
        dosed = pl.col("example_id").is_in(part["example_id"].unique().to_list())
        whole = effects.filter(pl.col("cut") == cut).filter(dosed)
        measured = left(whole)
        most = min((i for i, x in enumerate(measured.places) if x in set(part["layer"])), key=measured.mean.__getitem__)
        found.append((cut, part, whole, int(measured.places[most]), float(measured.mean[most])))
    # Of a cut that costs nothing at any layer no dose costs anything: drawn only where all are such.
    lines = []
    for cut, part, whole, layer, _ in [one for one in found if one[-1] < 100] or found:
        columns = ["example_id", "share", "logprob_clean", "logprob_cut"]
        shares = (part, whole.with_columns(share=pl.lit(1.0)))
        rows = pl.concat([one.filter(pl.col("layer") == layer).select(columns) for one in shares])
        response = left(rows.with_columns(pl.col("share") * 100), over="share")
        lines.append(Line(f"{arrow(cut)}, layer {layer}", response, cut_style(cut)))
    axes = Axes("Share of the cut's keys, drawn at random (%)", "Answer's probability left (%)", reference=100.0)
    said = f"Lines: geometric mean; bands: 95 % intervals, for all shares of a line at once; {_counted(lines)}."
    title = "Does losing some of a route's keys cost as much as losing all?"
    return line_chart(lines, axes, size, title=title, subtitle=said, legend="route cut, where it costs most")


def answer_tracking(
    answers: pl.DataFrame, control: pl.DataFrame | None, size: Size, *, as_released: bool = False
) -> Chart:
    """Probability (%) of the answer's forms, read from every hidden state at the last prompt position.

    `control`: the same table from a model that cannot know, such as the random-weights baseline, drawn dashed.
    `as_released` reads `prob_raw`, which leaves out the final norm as the released code of Zhang et al. 2025 does.
    """
    value = 100 * pl.col("prob_raw" if as_released else "prob")
    rows, baseline = _pooled(answers), None if control is None else _pooled(control)
    lines = []
    for number, form in enumerate(in_order(rows, "form")):
        name, style = _NAMES.get(form, form), _STYLES.get(form, number)
        lines.append(Line(name, _within(curve(rows.filter(form=form), value)), style))
        beside = None if baseline is None else baseline.filter(form=form)
        if beside is not None and beside.height:
            lines.append(Line(name, _within(curve(beside, value)), style, control_label(RANDOM_WEIGHTS)))
    how = "without the final norm, as released" if as_released else "through the final norm and the output head"
    said = f"Read {how}. {_TRACKED}; {_counted(lines)}."
    title = "In which hidden states can the answer be read at the last position?"
    return line_chart(lines, Axes(_STATE, "Probability (%)"), size, title=title, subtitle=said, legend="first token of")


def caption_words(words: pl.DataFrame, size: Size) -> Chart:
    """Share (%) of the question positions whose decoded word stands in the image's captions, per hidden state."""
    found = 100 * pl.col("in_captions").cast(pl.Float64)
    lines = [
        Line(name, _within(curve(of_type(words, name), found)), number)
        for number, name in enumerate(in_order(words, "type"))
    ]
    axes = Axes(_STATE, "Words found in captions (%)")
    title = "Do the question's positions hold words for what is in the image?"
    said = f"{_TRACKED}; {_counted(lines)}. State 0 has not seen the image: it is the control."
    return line_chart(lines, axes, size, title=title, subtitle=said, legend="question type")


def window_maps(effects: pl.DataFrame, size: Size, *, cuts: Sequence[str] = ()) -> Chart:
    """Mean change in log-probability (nat) for every window of layers (rows of a sweep over all windows), by cut.

    A dot marks windows whose 95 % interval, which holds for all windows at once, takes in zero.
    """
    layers = int(effects["stop"].max() or 0)
    cells = [cell for cut in chosen_cuts(effects, cuts) for cell in _cells(effects.filter(cut=cut), arrow(cut))]
    said = (
        "Cells: mean change in the answer's log-probability when all layers from the first to the last are cut. A dot: "
        f"the 95 % interval, for all windows of a route at once, takes in 0; {counted([one.n or 0 for one in cells])}."
    )
    # So that a dot fits into a cell, and a route above its panel.
    least = max(layers * (size.text + 1) + 4 * size.text, *(0.6 * size.text * len(one.panel) for one in cells))
    columns = max(1, int(size.width // least))
    sides = Sides("Last layer cut", "First layer cut", square=True)
    shades = Shades("change (nat)", middle=0.0)
    title = "Which stretches of layers does each route need?"
    return grid_chart(cells, shades, sides, size, title=title, subtitle=said, columns=min(columns, 3))


def _cells(rows: pl.DataFrame, panel: str) -> list[Cell]:
    """A cell for every window of a cut, from the last layer down."""
    windows = rows.select("start", "stop").unique().sort("stop", "start", descending=[True, False])
    index = [name for name in ("example_id", "input") if name in rows.columns]
    wide = rows.with_columns(change=LOGPROB).pivot(on=["start", "stop"], index=index, values="change")
    order = [f"{{{start},{stop}}}" for start, stop in windows.rows()]
    found = mean_bands(wide.select(order).to_numpy(), clusters=inputs_of(wide))
    n, known = int(found.n.min()), (found.high < 0) | (found.low > 0)
    return [
        Cell(str(stop - 1), str(start), float(mean), float(low), float(high), n, panel, "" if sure else "·")
        for (start, stop), mean, low, high, sure in zip(
            windows.rows(), found.mean, found.low, found.high, known, strict=True
        )
    ]


_TRACKED = "Lines: means over examples; bands: 95 % intervals, for all states of a line at once"


def _within(found: Curve, highest: float = 100.0) -> Curve:
    """Means of what lies between 0 and `highest`: their intervals do too."""
    return replace(found, low=np.clip(found.low, 0.0, highest), high=np.clip(found.high, 0.0, highest))


def _pooled(answers: pl.DataFrame) -> pl.DataFrame:
    if answers["form"].n_unique() <= _MOST_FORMS:
        return answers
    form = pl.when(pl.col("form").is_in(list(_NAMES))).then(pl.col("form")).otherwise(pl.lit("other options"))
    return answers.with_columns(form)


def _counted(lines: Sequence[Line]) -> str:
    return counted([line.curve.n for line in lines if line.role == MEASURED])
