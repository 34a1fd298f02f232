"""Score against accuracy, one point per model."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from chiasm.core.answer_metrics import ANSWER_METRICS
from chiasm.results.charts.lines import Chart, between
from chiasm.results.charts.marks import Mark, Scale
from chiasm.results.charts.points import Plane, Point, points_chart
from chiasm.results.charts.theme import Size
from chiasm.results.series import in_order
from chiasm.results.wording import compact
from chiasm.studies.compare.findings import ENOUGH


def outcome_chart(
    rows: pl.DataFrame, outcomes: pl.DataFrame, related: pl.DataFrame, size: Size, *, task: str, metric: str
) -> Chart:
    """Another measure of the same models against each alignment score (mean token), as `accuracy_chart`.

    `rows`: the table `compare`; `outcomes`, `related`: those of that name and `outcome_correlation`.
    """
    described = ANSWER_METRICS[metric]
    chosen = (pl.col("task") == task) & (pl.col("metric") == metric)
    values = outcomes.filter(chosen & pl.col("value").is_not_null())
    measured = values.select("model", accuracy="value", accuracy_low="low", accuracy_high="high")
    both = rows.drop("accuracy", "accuracy_low", "accuracy_high").join(measured, on="model", maintain_order="left")
    direction = "more is better" if described.more_is_better else "less is better"
    unit = "%, " if described.percent else ""
    label = f"{described.title[0].upper()}{described.title[1:]} ({unit}{direction})"
    scale = 100 if described.percent else 1
    return accuracy_chart(both, related.filter(chosen), size, label=label, scale=scale)


def accuracy_chart(
    rows: pl.DataFrame,
    related: pl.DataFrame,
    size: Size,
    *,
    statistic: str = "mean_token",
    label: str = "Right answers (%)",
    scale: float = 100,
) -> Chart:
    """Accuracy (times `scale`) against each alignment score, with both intervals; the coefficients stand above."""
    rows = rows.filter(pl.col("accuracy").is_not_null(), statistic=statistic)
    names, models = in_order(rows, "name"), in_order(rows, "model")
    points, panels = [], {}
    for name in names:
        panel = _coefficients(name, related.filter(name=name, statistic=statistic).row(0, named=True))
        points += [model_point(row, row["model"], panel, scale) for row in rows.filter(name=name).iter_rows(named=True)]
        panels[panel] = Scale(f"{name}, {statistic.replace('_', ' ')}")
    y = Scale(label, limits=heights(points))
    few = ": too few to establish a relation" if len(models) < ENOUGH else ""
    what = label.partition(" (")[0]
    return points_chart(
        points,
        [Plane(panel, x, y) for panel, x in panels.items()],
        [Mark(model, k) for k, model in enumerate(models)],
        size,
        title=f"{what} against alignment: do they go together?",
        subtitle=f"Points: models; bars: 95 % intervals over examples; n = {len(models)} models{few}.",
        things="model",
    )


def heights(points: Sequence[Point]) -> tuple[float, float]:
    """One scale for panels side by side."""
    every = [value for point in points for value in (point.y, point.y_low, point.y_high) if not math.isnan(value)]
    low, high = min(every, default=0.0), max(every, default=1.0)
    return between(low, high) if high > low else (low - 0.5, high + 0.5)


def model_point(row: Mapping[str, Any], mark: str, panel: str, scale: float = 100) -> Point:
    """Score and accuracy (times `scale`) of a model with both intervals."""
    x_low, x_high = (math.nan if row[name] is None else row[name] for name in ("low", "high"))
    y_low, y_high = (math.nan if row[name] is None else scale * row[name] for name in ("accuracy_low", "accuracy_high"))
    y = scale * row["accuracy"]
    return Point(row["model"], row["value"], y, x_low, x_high, y_low, y_high, row["n"], mark, panel)


def _coefficients(name: str, row: Mapping[str, Any]) -> str:
    if row["spearman"] is None:
        return f"{name}: no spread, no correlation"
    found = compact(row["spearman"], row["spearman_low"], row["spearman_high"])
    return f"{name}: Spearman {found}, p = {row['p']:.2g}, uncorrected"
