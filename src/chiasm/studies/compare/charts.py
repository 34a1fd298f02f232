"""Score against accuracy, one point per model."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from chiasm.core.answer_metrics import ANSWER_METRICS
from chiasm.results.panels import Panels
from chiasm.results.series import in_order
from chiasm.results.theme import marked
from chiasm.results.wording import compact
from chiasm.studies.compare.findings import ENOUGH


def score_against_outcome(
    rows: pl.DataFrame, outcomes: pl.DataFrame, related: pl.DataFrame, task: str, metric: str
) -> Figure:
    """Another measure of the same models against each alignment score (mean token), as `score_against_accuracy`.

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
    return score_against_accuracy(both, related.filter(chosen), label=label, scale=100 if described.percent else 1)


def score_against_accuracy(
    rows: pl.DataFrame,
    related: pl.DataFrame,
    statistic: str = "mean_token",
    *,
    label: str = "Right answers (%)",
    scale: float = 100,
) -> Figure:
    """Accuracy (times `scale`) against each alignment score, with both intervals; the coefficients stand above."""
    rows = rows.filter(statistic=statistic)
    names, models = in_order(rows, "name"), in_order(rows, "model")
    panels = Panels(2.6, len(names), sharey=True)
    for name, axes in zip(names, panels.axes, strict=True):
        for row in rows.filter(name=name).iter_rows(named=True):
            model_point(axes, row, models.index(row["model"]), scale)
        coefficients = _coefficients(related.filter(name=name, statistic=statistic).row(0, named=True))
        y = label if name == names[0] else ""
        panels.dress(axes, x=f"{name}, {statistic.replace('_', ' ')}", y=y, title=coefficients)
    for k, model in enumerate(models):
        panels.handles[model] = Line2D([], [], linestyle="none", markersize=4, label=model, **marked(k))
    few = ": too few to establish a relation" if len(models) < ENOUGH else ""
    return panels.legend(f"n = {len(models)} models{few}; bars: 95 % intervals")


def model_point(axes: Axes, row: dict, k: int | None, scale: float = 100) -> None:
    """Score and accuracy (times `scale`) of a model with both intervals, as the k-th of the models shown."""
    across = None if row["low"] is None else [[row["value"] - row["low"]], [row["high"] - row["value"]]]
    y, low, high = (row[key] for key in ("accuracy", "accuracy_low", "accuracy_high"))
    up = None if low is None else [[scale * max(y - low, 0)], [scale * max(high - y, 0)]]
    axes.errorbar(
        row["value"], scale * y, xerr=across, yerr=up, markersize=4, linewidth=0.8, capsize=2, **marked(k),
    )  # fmt: skip


def _coefficients(row: dict) -> str:
    if row["spearman"] is None:
        return "no spread, no correlation"
    found = compact(row["spearman"], row["spearman_low"], row["spearman_high"])
    return f"Spearman {found}, p = {row['p']:.2g}, uncorrected"
