"""A relation over models is claimed only where it outlives the correction for all that were looked at."""

import numpy as np
import polars as pl

import chiasm
from chiasm.core.claims import Claim, of_kind
from chiasm.results.claims import read_claims
from chiasm.studies.compare.findings import compare_findings

SCORES = [(name, statistic) for name in ("ima_0", "ima_same") for statistic in ("mean_token", "median_token")]


def compare(accuracy: np.ndarray, scores: np.ndarray) -> pl.DataFrame:
    """The table `compare`: `scores` (models x four scores), and the accuracy of every model."""
    rows = []
    for k, (right, own) in enumerate(zip(accuracy, scores, strict=True)):
        about = {"model": f"m{k}", "a": "image", "b": "question", "low": None, "high": None, "n": 50}
        about |= {"accuracy": right, "accuracy_low": right / 2, "accuracy_high": (1 + right) / 2}
        rows += [about | {"name": n, "statistic": s, "value": v} for (n, s), v in zip(SCORES, own, strict=True)]
    return pl.DataFrame(rows)


def claimed(accuracy: np.ndarray, scores: np.ndarray, **tables: pl.DataFrame) -> list[Claim]:
    return read_claims(chiasm.claims("compare", {"compare": compare(accuracy, scores), **tables}))


def test_a_planted_relation_is_found_and_said_to_be_uncontrolled():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(12, 4))
    accuracy = (scores[:, 2].argsort().argsort() + 0.1 * rng.random(12)) / 13
    found = claimed(accuracy, scores)
    [planted] = [one for one in of_kind(found, "relation") if "ima_same (mean token)" in one.about]
    assert planted.verdict == "uncontrolled"
    assert planted.n == 12
    text = " ".join(finding.text for finding in compare_findings(found))
    assert "the score rises with the outcome: ima_same (mean token) of image and question with accuracy" in text
    assert "It is uncontrolled" in text
    assert "no independent points" in text


def test_no_relation_is_claimed_in_noise():
    wrong = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        wrong += any(one.found for one in of_kind(claimed(rng.random(7), rng.normal(size=(7, 4))), "relation"))
    assert wrong <= 5


def test_four_models_establish_nothing_and_three_have_no_interval():
    scores = np.arange(4.0)[:, None] + np.zeros(4)
    found = claimed(np.arange(4) / 4, scores)
    assert {one.verdict for one in of_kind(found, "relation")} == {"not established"}
    assert any("the least p-value that they can give is 0.083" in f.text for f in compare_findings(found))
    three = claimed(np.arange(3) / 4, scores[:3])
    assert {one.low for one in of_kind(three, "relation")} == {None}
    assert any("n = 3 models cannot show a relation" in f.text for f in compare_findings(three))


def test_a_score_without_spread_relates_to_nothing():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(9, 4))
    scores[:, 0] = 0.5
    found = claimed(rng.random(9), scores)
    assert any("since one of the two is the same for all models: ima_0" in f.text for f in compare_findings(found))


def test_outcomes_have_intervals_of_their_own_family():
    rng = np.random.default_rng(0)
    rows = [
        {
            "model": f"m{k}",
            "task": "caption",
            "kind": "hallucination",
            "metric": "chair_i",
            "value": rng.random(),
            "n": 24,
        }
        for k in range(9)
    ]
    found = claimed(rng.random(9), rng.normal(size=(9, 4)), outcomes=pl.DataFrame(rows))
    outcomes = of_kind(found, "outcome")
    assert len(outcomes) == 2  # both scores, mean token
    assert all((one.low or 0) < (one.high or 0) for one in outcomes)


def test_accuracies_are_all_named_so_that_none_is_picked():
    found = claimed(np.arange(5) / 5, np.random.default_rng(0).normal(size=(5, 4)))
    text = next(f.text for f in compare_findings(found) if f.text.startswith("Right answers"))
    for k in range(5):
        assert f"m{k} {20 * k}.0 %" in text
