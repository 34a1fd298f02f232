"""The table of plans and the charts of a skipping run: what the claims state, and nothing else."""

import math
from dataclasses import replace

import polars as pl
import pytest
from tests.studies.skip.skip_claims import PLAN, one_of
from tests.support import skip_tables as made
from tests.support.charts import found, rows, titles

from chiasm.core.claims import of_kind
from chiasm.results.charts.files import specification
from chiasm.results.charts.theme import SCREEN, size_of
from chiasm.studies.skip import charts
from chiasm.studies.skip.claims import claims
from chiasm.studies.skip.overview import plans_table
from chiasm.studies.skip.tables import NONE


def test_every_plan_is_a_row_and_every_interval_is_that_of_the_claims():
    losses = {"search-50": 0.02, "random-50-0": 0.3}
    tables = {"verdicts": made.verdicts(losses), "plans": made.plans(dict.fromkeys(losses, 0.5))}
    more = [pl.lit(value).alias(name) for name, value in PLAN.items()]
    table = plans_table(tables["plans"].with_columns(more), claims(tables))
    assert set(table["plan"]) == {"plain model (nothing left out)", *losses}
    one = one_of(claims(tables), "loss", "search-50")
    cell = table.filter(plan="search-50")["right answers lost (points)"][0]
    assert f"({one.low:.1f} to {one.high:.1f})" in cell
    assert "(1.0 to 5.0)" in table.filter(plan="random-50-0")["right answers lost (points)"][0]
    # What no claim compares stands in the table as it does in the chart.
    timed = tables["plans"].with_columns(more).with_columns(prefill_share=pl.lit(1.25), batch_share=pl.lit(0.8))
    table = plans_table(timed, claims(tables))
    columns = [name for name in table.columns if name.startswith("change of time")]
    assert table.filter(plan="random-50-0").select(columns).row(0) == ("25 (no interval)", "-20 (no interval)")
    assert table.filter(plan="plain model (nothing left out)").select(columns).row(0) == (
        "25 (two equal calls)",
        "-20 (two equal calls)",
    )


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (-8.0, 1.0, "not established: 0 is within"),
        (-8.0, -2.0, "not established beyond two equal calls (+2 %)"),
        (None, None, "not established: no interval"),
    ],
)
def test_the_table_says_why_a_time_is_not_established(low, high, said):
    tables = {"verdicts": made.verdicts({"p": 0.0}), "plans": made.plans({"p": 0.5})}
    times = of_kind(claims(tables | {"timings": made.timings({"p": (0.7, 0.7)})}), "time", "p")
    doubted = [
        replace(one, effect=-5.0, low=low, high=high, control_effect=2.3, verdict="not established") for one in times
    ]
    more = [pl.lit(value).alias(name) for name, value in PLAN.items()]
    table = plans_table(tables["plans"].with_columns(more), doubted)
    cells = table.filter(plan="p").select(column for column in table.columns if column.startswith("change of")).row(0)
    assert all(cell.endswith(said) for cell in cells)


def test_every_plan_is_drawn_with_the_intervals_of_the_claims_and_the_recommended_one_has_a_ring():
    kinds = {"search-50": (0.5, "search"), "random-50-0": (0.5, "random-layers"), NONE: (1.0, NONE)}
    table = pl.DataFrame(
        [
            {"plan": plan, "kind": kind, "operations_share": share, "peak_bytes": 100, "loss": 0.02, "loss_low": 0.01}
            | {"loss_high": 0.05, "n": 200, "recommended": plan == "search-50", "max_loss": 0.02, "skipped": "ffn"}
            | {"score": 0.9, "prefill_share": 0.8, "batch_share": 0.7}
            for plan, (share, kind) in kinds.items()
        ]
    )
    tables = {
        "verdicts": made.verdicts({"search-50": 0.02, "random-50-0": 0.3}),
        "plans": made.plans({"search-50": 0.5}),
    }
    said = claims(tables | {"timings": made.timings({"search-50": (0.7, 0.6)})})
    chart = charts.plans_chart(table, SCREEN, claims=said)
    loss = one_of(said, "loss", "search-50")
    for one in of_kind(said, "time", "search-50"):
        [row] = rows(chart, "name").filter(name="search-50", panel=one.where).rows(named=True)
        drawn = (row["x"], row["x_low"], row["x_high"], row["y_low"], row["y_high"])
        assert drawn == pytest.approx((100 + one.effect, 100 + one.low, 100 + one.high, loss.low, loss.high), rel=1e-5)
        assert row["operations left (%)"] == 50
        assert row["chosen"]
    # What no claim is about has the bounds of the table, and no interval of its time.
    control = rows(chart, "name").filter(name="random-50-0").row(0, named=True)
    assert (control["x"], control["x_low"], control["y_low"], control["y_high"]) == (80.0, None, 1.0, 5.0)
    assert rows(chart, "name").filter(name=NONE)["chosen"].to_list() == [None, None]
    words = " ".join([*titles(chart), *specification(chart)["title"]["subtitle"]])
    for part in (
        "Right answers lost (points; logarithmic beyond ±1)",
        "Time left (%, logarithmic)",
        "n = 200",
        "95 %",
        "search-50 is recommended",
    ):
        assert part in words
    nothing = table.with_columns(recommended=pl.col("plan") == NONE)
    said = specification(charts.plans_chart(nothing, SCREEN))["title"]["subtitle"]
    assert "nothing is recommended" in " ".join(said)


def timed_points(*bounds):
    return [charts.Point(f"p{k}", 100.0, 0.0, low, high) for k, (low, high) in enumerate(bounds)]


def test_intervals_of_times_are_drawn_whole_unless_they_would_flatten_all_else():
    (low, high), cut = charts.times_shown(timed_points((75, 180), (math.nan, math.nan)))
    assert low < 75 < 180 < high
    assert not cut
    (low, high), cut = charts.times_shown(timed_points((75, 900), (80, 120)))
    assert low < 75
    assert (high, cut) == (200, True)


@pytest.mark.parametrize("width", [None, "3.3in"])
def test_training_with_a_plan_stands_beside_training_without(width):
    shares = [("none", "", 0.9), ("none", "p", 0.5), ("without-plan", "", 0.8), ("with-plan", "p", 0.85)]
    names = ("trained", "plan", "score")
    table = pl.DataFrame(
        [dict(zip(names, row, strict=True)) | {"score_low": 0.4, "score_high": 0.95, "n": 20} for row in shares]
    )
    chart = charts.recovery_chart(table, size_of(width))
    drawn = rows(chart, "row", "mark").select("row", "mark", "value")
    assert ("trained without the plan (control)", "answering without the plan", 80.0) in drawn.rows()
    assert ("trained with the plan", "answering under p", 85.0) in drawn.rows()
    assert "Right answers (%)" in titles(chart)


def test_layers_that_the_answer_does_not_need_have_a_place_on_the_scale():
    own = made.contributions().with_columns(kl=pl.when(pl.col("layer") > 0).then(0.0).otherwise("kl"))
    chart = charts.contributions_chart(own, own.with_columns(control=pl.lit("twin")), SCREEN)
    [scale] = {str(one) for one in found(chart, "scale") if one and one.get("type") == "log"}
    assert "'clamp': True" in scale
    assert rows(chart).filter(x=1)["y"].to_list() == [0.0] * rows(chart).filter(x=1).height
    assert set(rows(chart)["role"]) == {"measured", "random-weights baseline"}


def test_divergences_are_never_below_zero_and_are_drawn_as_said():
    own = made.contributions()
    found = of_kind(claims({"contributions": own}), "contribution")
    assert min(one.low for one in found) == 0.0
    assert all((one.p <= 0.05) == (one.low > 0) for one in found)
    drawn = rows(charts.contributions_chart(own, None, SCREEN, claims=found))
    for one in found:
        [row] = drawn.filter(
            label={"ffn": "feed-forward", "block": "both"}.get(one.about, one.about), x=int(one.where)
        ).rows(named=True)
        assert (row["y"], row["low"], row["high"]) == pytest.approx((one.effect, one.low, one.high), rel=1e-4)
