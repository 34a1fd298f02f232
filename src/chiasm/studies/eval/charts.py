"""Right answers by type beside what guessing would reach, and other measures, each beside the blind control."""

import math
from typing import Final

import polars as pl

from chiasm.core.answer_metrics import ANSWER_METRICS
from chiasm.results.charts.dots import Dot, dots_chart
from chiasm.results.charts.lines import Chart
from chiasm.results.charts.marks import Mark, Scale
from chiasm.results.charts.theme import Size
from chiasm.results.series import in_order, majority, of_type, right_share

_MAX_TYPES = 6
_SEEING: Final = Mark("with the image", 0)
_BLIND: Final = Mark("image blanked (control)", 0, control=True)
_GUESSING: Final = Mark("the most frequent answer (control)", None, control=True)


def accuracy_chart(answers: pl.DataFrame, blind: pl.DataFrame | None, size: Size) -> Chart:
    """Share of right answers over all and by type, and the share of the type's most frequent answer.

    `blind`: the same table with the image blanked.
    """
    types = in_order(answers, "type")
    groups = [("all", None), *((name, name) for name in types)] if len(types) > 1 else [(types[0], None)]
    dots = []
    for name, chosen in groups:
        rows = of_type(answers, chosen)
        row = f"{name} (n = {rows.height})"
        dots.append(_share(row, rows, _SEEING))
        unseen = None if blind is None else of_type(blind, chosen)
        if unseen is not None and unseen.height:
            dots.append(_share(row, unseen, _BLIND))
        dots.append(Dot(row, 100 * majority(rows), n=rows.height, mark=_GUESSING.label))
    marks = [_SEEING, *([] if blind is None else [_BLIND]), _GUESSING]
    return dots_chart(
        dots,
        [Scale("Right answers (%)", limits=(0, 100))],
        marks,
        size,
        title="How often is it right, and does it need the image?" if blind is not None else "How often is it right?",
        subtitle=f"Dots: shares; bars: 95 % Wilson intervals; n = {answers.height} in all.",
        rows_title="Question type",
    )


def _share(row: str, answers: pl.DataFrame, mark: Mark) -> Dot:
    share = right_share(answers)
    mean, low, high = (100 * float(part) for part in (share.mean, share.low, share.high))
    return Dot(row, mean, low, high, answers.height, mark.label)


def accuracy_caption(answers: pl.DataFrame, blind: bool = False) -> str:
    """For `accuracy_chart`."""
    return (
        f"Right answers by question type with Wilson's 95 % intervals (n = {answers.height} in all), beside the share "
        "of the most frequent answer of the type, which needs no image"
        + (", and beside the same model with the image blanked." if blind else ".")
    )


def measures_chart(metrics: pl.DataFrame, size: Size, *, percent: bool) -> Chart:
    """Every measure that is a share (`percent`) or has a scale of its own, over all examples and by type.

    Beside each: the same with every image blanked. Types are drawn where they are at most six.
    """
    rows = drawn(metrics, percent)
    scale = 100 if percent else 1
    dots = []
    for row in rows.filter(shown="image").iter_rows(named=True):
        title = ANSWER_METRICS[row["metric"]].title
        name = f"{title} (n = {row['n']})" if row["type"] == "all" else f"{title}, {row['type']}"
        dots.append(_measured(name, row, scale, _SEEING))
        blanked = rows.filter(metric=row["metric"], type=row["type"], shown="blank")
        dots += [_measured(name, blank, scale, _BLIND) for blank in blanked.iter_rows(named=True)]
    marks = [_SEEING, *([_BLIND] if "blank" in rows["shown"] else [])]
    return dots_chart(
        dots,
        [Scale("Share (%)" if percent else "Value (own scale)", limits=(0, 100) if percent else None)],
        marks,
        size,
        title="How good are the answers by every measure?",
        subtitle="Dots: values; bars: 95 % intervals over inputs; n beside each; of types in the table.",
    )


def _measured(name: str, row: dict, scale: float, mark: Mark) -> Dot:
    low, high = (math.nan if row[bound] is None else scale * row[bound] for bound in ("low", "high"))
    return Dot(name, scale * row["value"], low, high, row["n"], mark.label)


def drawn(metrics: pl.DataFrame, percent: bool) -> pl.DataFrame:
    """The rows that `measures_chart` draws: those with a value, of one kind of scale, types only where they are few."""
    names = [name for name, metric in ANSWER_METRICS.items() if metric.percent == percent and name != "accuracy"]
    rows = metrics.filter(pl.col("metric").is_in(names) & pl.col("value").is_not_null())
    types = rows.filter(pl.col("type") != "all")["type"].n_unique()
    return rows if types <= _MAX_TYPES else rows.filter(type="all")


def measures_caption(metrics: pl.DataFrame) -> str:
    """For `measures_chart`."""
    blind = "blank" in metrics["shown"]
    beside = "Hollow: the same questions with every image blanked." if blind else "No control was run (--blind)."
    return (
        "Measures of the answers, over all examples and by type, with 95 % intervals; all answers on one input are "
        f"resampled together. {beside}"
    )
