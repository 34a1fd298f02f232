"""From answers under plans to losses, their intervals, and the plan that is recommended."""

import numpy as np
import polars as pl
import pytest

from chiasm.results.series import with_inputs
from chiasm.studies.skip.findings import compare_plans, points
from chiasm.studies.skip.scores import choice_loss, pareto, recommended, verdict_rows
from chiasm.studies.skip.tables import NONE, RANDOM_LAYERS, SEARCH


def verdicts(**plans: list[bool]) -> pl.DataFrame:
    rows = [
        {"example_id": str(k), "type": "a", "plan": plan, "kind": SEARCH if plan != NONE else NONE}
        | {"answer": "x", "generated": "x", "correct": right, "logprob": -1.0 if right else -2.0}
        for plan, found in plans.items()
        for k, right in enumerate(found)
    ]
    return pl.DataFrame(rows)


def test_losses_are_paired_and_an_unseen_change_is_not_impossible() -> None:
    rows = {
        r["plan"]: r
        for r in verdict_rows(verdicts(none=[True] * 20, same=[True] * 20, worse=[False] * 5 + [True] * 15))
    }
    assert (rows["none"]["loss_low"], rows["none"]["loss_high"]) == (0, 0)
    assert rows["same"]["loss"] == 0
    assert rows["same"]["loss_high"] == -rows["same"]["loss_low"] == pytest.approx(0.1611, abs=1e-4)
    assert rows["worse"]["loss"] == pytest.approx(0.25)
    assert 0 < rows["worse"]["loss_low"] < 0.25 < rows["worse"]["loss_high"] < 0.6
    assert rows["worse"]["logprob_loss"] == pytest.approx(0.25)


def test_questions_on_one_image_are_fewer_draws() -> None:
    right = [True] * 20 + [False] * 20
    alone = verdicts(none=[True] * 40, worse=right)
    # Twenty images with two questions each, which go right or wrong together.
    known = pl.DataFrame({"example_id": [str(k) for k in range(40)], "input": [f"image {k // 2}" for k in range(40)]})
    rows, few = ({r["plan"]: r for r in verdict_rows(table)}["worse"] for table in (alone, with_inputs(alone, known)))
    assert rows["score"] == few["score"] == 0.5
    for name in ("score", "loss", "logprob_loss"):
        wide, narrow = (r[f"{name}_high"] - r[f"{name}_low"] for r in (few, rows))
        assert wide > 1.25 * narrow
    one = verdict_rows(alone.with_columns(input=pl.lit("image")))[1]
    assert [one[f"{name}_low"] for name in ("score", "loss", "logprob_loss")] == [None] * 3
    assert one["n"] == 40


def test_the_front_holds_what_no_other_beats() -> None:
    named = {"none": (1, 0.0), "a": (0.8, 0.1), "worse": (0.9, 0.1), "b": (0.5, 0.3), "twin of b": (0.5, 0.3)}
    rows = [{"plan": k, "kind": SEARCH, "operations_share": s, "logprob_loss": v} for k, (s, v) in named.items()]
    rows.append({"plan": "chance", "kind": RANDOM_LAYERS, "operations_share": 0.1, "logprob_loss": -1.0})
    assert pareto(rows) == {"none", "a", "b", "twin of b"}


def test_the_recommended_plan_keeps_the_bound_and_saves_time() -> None:
    def row(plan: str, kind: str, share: float, loss: float, time: float) -> dict:
        return {
            "plan": plan,
            "kind": kind,
            "operations_share": share,
            "loss": loss,
            "logprob_loss": 0.0,
        } | {f"{name}_share{end}": time for name in ("prefill", "batch") for end in ("", "_low", "_high")}

    rows = [
        row("none", NONE, 1, 0, 1),
        row("a", SEARCH, 0.8, 0.005, 0.9),
        row("b", SEARCH, 0.6, 0.02, 0.7),
        row("slow", SEARCH, 0.5, 0, 1.2),
        row("chance", RANDOM_LAYERS, 0.4, 0, 0.5),
    ]
    assert recommended(rows, 0.01) == "a"
    assert recommended(rows, 0.02) == "b"
    assert recommended(rows, 0) == "none"
    # Where two equal calls differ as much, a plan that took less time has not saved any.
    noisy = [rows[0] | {"prefill_share_low": 0.6, "batch_share_low": 0.85}, *rows[1:]]
    assert recommended(noisy, 0.01) == "none"
    assert recommended(noisy, 0.02) == "b"


def timed(plan: str, share: float) -> dict:
    kind = NONE if plan == NONE else SEARCH
    time = {
        f"{name}_share{end}": min(1.0, share + 0.2) for name in ("prefill", "batch") for end in ("", "_low", "_high")
    }
    return {"plan": plan, "kind": kind, "operations_share": share, "logprob_loss": 0.0} | time


def test_the_choice_is_judged_on_inputs_that_did_not_choose_it() -> None:
    """Twenty plans that each lose five answers of a hundred at random: the luckiest looks free, and is not."""
    n, flattered, judged = 100, [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        right = {f"p{k}": (rng.random(n) > 0.05).tolist() for k in range(20)}
        table = verdicts(none=[True] * n, **right)
        plans = [timed(NONE, 1.0), *(timed(name, 0.5 + 0.01 * k) for k, name in enumerate(right))]
        losses = {row["plan"]: row["loss"] for row in verdict_rows(table)}
        flattered.append(losses[recommended([row | {"loss": losses[row["plan"]]} for row in plans], 0.02)])
        again = choice_loss(table, plans, 0.02)
        assert again is not None
        assert again.n == n
        judged.append(float(again.mean))
    assert max(flattered) <= 0.02
    assert np.mean(judged) == pytest.approx(0.05, abs=0.015)
    # Where every plan is the same on all inputs, choosing flatters nobody.
    same = choice_loss(verdicts(none=[True] * n, a=[True] * n), [timed(NONE, 1.0), timed("a", 0.5)], 0.01)
    assert same is not None
    assert float(same.mean) == 0
    assert float(same.high) > 0
    assert choice_loss(verdicts(none=[True] * 3, a=[True] * 3), [timed(NONE, 1.0), timed("a", 0.5)], 0.01) is None


def test_plans_and_controls_are_paired_by_example() -> None:
    """Examples that differ a lot and plans that differ by a little on each: only pairs can tell."""
    rng = np.random.default_rng(1)
    level = rng.normal(-3, 2, 60)
    rows = [
        {"example_id": f"{k:02}", "plan": plan, "logprob": float(level[k] - shift - 0.01 * rng.random())}
        for plan, shift in ((NONE, 0.0), ("search-50", 0.01), ("random-50-0", 0.1), ("random-50-1", 0.01))
        for k in rng.permutation(60)
    ]
    found = compare_plans(pl.DataFrame(rows), [("search-50", "random-50-0"), ("search-50", "random-50-1")])
    assert found[0].p < 0.01
    assert found[0].low < found[0].more < found[0].high
    assert found[0].more == pytest.approx(0.09, abs=0.005)
    assert found[1].p > 0.05
    assert compare_plans(pl.DataFrame(rows), []) == []


def test_points_have_no_minus_before_nought() -> None:
    assert [points(loss) for loss in (0.01, -0.0001, -0.006, 0.463, 0.0)] == [
        "1 point",
        "0 points",
        "-0.6 points",
        "46.3 points",
        "0 points",
    ]
