"""What the last position is about to say at every depth: answer words and decoded words against the layer."""

import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from chiasm.results.series import curve, in_order, of_type
from chiasm.results.theme import (
    SIZES,
    Width,
    control_key,
    counted,
    draw,
    draw_control,
    dress,
    layer_axis,
    legend_below,
    new_figure,
    zero_line,
)

_STATE = "Hidden state (0 = embeddings)"
_NAMES = {"lower": "answer, lower case", "capital": "answer, capitalised"}
# Options whose names are the words themselves differ from question to question: beyond this they are drawn as one.
_MOST_FORMS = 6


def answer_tracking(
    answers: pl.DataFrame,
    control: pl.DataFrame | None = None,
    *,
    type: str | None = None,
    as_released: bool = False,
    width: Width = "column",
) -> Figure:
    """Probability (%) of the answer's forms, read from every hidden state at the last prompt position.

    `control`: the same table from a model that cannot know, such as the random-weights baseline, drawn dashed.
    `as_released` reads `prob_raw`, which leaves out the final norm as the released code of Zhang et al. 2025 does.
    """
    size = SIZES[width]
    figure = new_figure(width, 2.5 if width == "page" else 2.0)
    axes = figure.add_subplot()
    value = 100 * pl.col("prob_raw" if as_released else "prob")
    rows, baseline = _pooled(of_type(answers, type)), None if control is None else _pooled(of_type(control, type))
    handles, ns = [], []
    for index, form in enumerate(in_order(rows, "form")):
        measured = curve(rows.filter(pl.col("form") == form), value)
        handles.append(draw(axes, measured, index, size, _NAMES.get(form, form)))
        ns.append(measured.n)
        if baseline is not None and baseline.filter(pl.col("form") == form).height:
            colour = str(handles[-1].get_color())
            draw_control(axes, curve(baseline.filter(pl.col("form") == form), value), colour, 0, size)
    if baseline is not None:
        handles.append(control_key("control: random-weights twin", 0, size))
    zero_line(axes)
    layer_axis(axes, int(rows["layer"].max() or 0), size.inches)
    dress(axes, size, x=_STATE, y="Probability (%)", title=type or "")
    legend_below(figure, handles, size, f"mean and 95 % bootstrap interval, {counted(ns)}")
    return figure


def _pooled(answers: pl.DataFrame) -> pl.DataFrame:
    if answers["form"].n_unique() <= _MOST_FORMS:
        return answers
    form = pl.when(pl.col("form").is_in(list(_NAMES))).then(pl.col("form")).otherwise(pl.lit("other options"))
    return answers.with_columns(form)


def caption_words(words: pl.DataFrame, *, width: Width = "column") -> Figure:
    """Share (%) of the question positions whose decoded word stands in the image's captions, per hidden state."""
    size = SIZES[width]
    figure = new_figure(width, 2.1)
    axes = figure.add_subplot()
    handles, ns = [], []
    for index, name in enumerate(in_order(words, "type")):
        measured = curve(of_type(words, name), 100 * pl.col("in_captions").cast(pl.Float64))
        handles.append(draw(axes, measured, index, size, name))
        ns.append(measured.n)
    zero_line(axes)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    layer_axis(axes, int(words["layer"].max() or 0), size.inches)
    dress(axes, size, x=_STATE, y="Words found in captions (%)")
    legend_below(figure, handles, size, f"mean and 95 % bootstrap interval, {counted(ns)}")
    return figure
