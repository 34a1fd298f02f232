"""From answers under plans to losses and their intervals."""

import polars as pl
import pytest

from chiasm.results.series import with_inputs
from chiasm.studies.skip.findings import points
from chiasm.studies.skip.scores import pareto, verdict_rows
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


def test_points_have_no_minus_before_nought() -> None:
    assert [points(loss) for loss in (0.01, -0.0001, -0.006, 0.463, 0.0)] == [
        "1 point",
        "0 points",
        "-0.6 points",
        "46.3 points",
        "0 points",
    ]
