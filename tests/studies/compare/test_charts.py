import polars as pl
import pytest
from tests.support.charts import found, rows, titles

from chiasm.results.charts.files import specification, svg
from chiasm.results.charts.theme import SCREEN, size_of
from chiasm.studies.compare.charts import accuracy_chart, outcome_chart

NAMES = ("one score", "other score")


def tables(models=5, low=0.1):
    scores = [
        {"model": f"m{k}", "name": name, "statistic": "mean_token", "value": 0.1 * k, "low": low, "high": 0.9, "n": 40}
        | {"accuracy": 0.5 + 0.05 * k, "accuracy_low": 0.4, "accuracy_high": None}
        for name in NAMES
        for k in range(models)
    ]
    related = [
        {
            "name": name,
            "statistic": "mean_token",
            "spearman": value,
            "spearman_low": -0.2,
            "spearman_high": 0.8,
            "p": 0.2,
        }
        for name, value in zip(NAMES, (0.4, None), strict=True)
    ]
    return pl.DataFrame(scores), pl.DataFrame(related)


@pytest.mark.parametrize("width", [None, "3.3in"])
def test_a_model_is_a_point_with_both_intervals(width):
    chart = accuracy_chart(*tables(), size_of(width))
    data = rows(chart, "name")
    row = data.filter(name="m2", panel="one score: Spearman 0.40 (-0.20 to 0.80), p = 0.2, uncorrected").row(
        0, named=True
    )
    assert (row["x"], row["x_low"], row["x_high"], row["y"], row["y_low"]) == (0.2, 0.1, 0.9, 60.0, 40.0)
    assert "y_high" not in data.columns
    assert "other score: no spread, no correlation" in set(data["panel"])
    assert "Right answers (%)" in titles(chart)
    assert "n = 5 models: too few" in " ".join(specification(chart)["title"]["subtitle"])
    assert svg(specification(chart)).startswith("<svg")


def test_panels_share_the_scale_of_what_is_compared():
    axes = [one for one in found(accuracy_chart(*tables(), SCREEN), "y") if one.get("axis")]
    assert len({tuple(one["scale"]["domain"]) for one in axes}) == 1


def test_another_measure_takes_the_place_of_accuracy():
    scores, related = tables()
    outcomes = pl.DataFrame(
        [
            {"model": f"m{k}", "task": "caption", "metric": "chair_i", "value": 0.1 * k, "low": None, "high": None}
            for k in range(5)
        ],
        schema_overrides={"low": pl.Float64, "high": pl.Float64},
    )
    related = related.with_columns(task=pl.lit("caption"), metric=pl.lit("chair_i"))
    chart = outcome_chart(scores, outcomes, related, SCREEN, task="caption", metric="chair_i")
    assert any("less is better" in title for title in titles(chart))
    assert rows(chart, "name").filter(name="m3")["y"][0] == pytest.approx(30.0)


def test_one_model_without_bounds_is_drawn():
    scores, related = tables(models=1, low=None)
    assert svg(specification(accuracy_chart(scores, related, SCREEN))).startswith("<svg")
