"""Claims of an evaluation from frames alone: planted effects are found, noise is not, and every control can fail."""

import numpy as np
import polars as pl
import pytest

import chiasm
from chiasm.core.statistics.intervals import share_difference, share_interval
from chiasm.results.claims import read_claims
from chiasm.results.tables import conform
from chiasm.studies.eval.findings import eval_findings, metric_findings
from chiasm.studies.eval.tables import EVAL, METRICS, SCORES


def answers(right, *, types=("a", "b"), repeats=1, seed=0):
    """One row per value of `right`, labels yes and no in turns; `repeats` questions on one image."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(len(right)) % 2)
    rows = [
        {
            "example_id": f"e{k}",
            "type": types[(k // repeats) % len(types)],
            "answer": ("yes", "No ")[labels[k]],
            "generated": "",
            "correct": bool(value),
            "input": f"i{k // repeats}",
        }
        for k, value in enumerate(right)
    ]
    return pl.DataFrame(rows)


def claimed(right, blind=None, **options):
    made = answers(right, **options)
    tables = {"eval": made.drop("input"), "examples": made.select("example_id", "type", "input")}
    if blind is not None:
        tables["blind"] = made.drop("input").with_columns(correct=pl.Series(np.asarray(blind, dtype=bool)))
    return read_claims(chiasm.claims("eval", tables))


def one(claims, kind, about="all"):
    [found] = [c for c in claims if (c.kind, c.about) == (kind, about)]
    return found


def drawn(n, share, seed=1):
    return np.random.default_rng(seed).random(n) < share


def test_planted_right_answers_beat_guessing_and_not_seeing():
    right, blind = drawn(120, 0.95), drawn(120, 0.5, 2)
    found = claimed(right, blind)
    gain, seen = one(found, "gain"), one(found, "seen")
    assert gain.verdict == seen.verdict == "established"
    assert one(found, "right").verdict == "established"
    whole, tango = share_interval(right), share_difference(right, blind)
    assert (one(found, "right").low, one(found, "right").high) == pytest.approx((100 * whole.low, 100 * whole.high))
    assert (seen.effect, seen.low) == pytest.approx((100 * float(tango.mean), 100 * float(tango.low)))
    assert seen.control_effect == pytest.approx(100 * blind.mean())
    assert one(found, "unseen").verdict == "not established"
    texts = [finding.text for finding in eval_findings(found)]
    assert texts[1].startswith("Seeing the image adds +")
    assert all("p = " in text or "p < " in text for text in texts)


def test_a_control_that_equals_the_answers_blocks_them():
    right = drawn(200, 0.95)
    found = claimed(right, right)
    assert one(found, "seen").verdict in ("practically none", "not established")
    assert "not established" in eval_findings(claimed(drawn(60, 0.5), drawn(60, 0.5, 3)))[1].text
    worse = eval_findings(claimed(drawn(200, 0.4), drawn(200, 0.9, 3)))[1].text
    assert worse.startswith("Seeing the image costs right answers, -")


def test_noise_is_claimed_in_few_runs():
    """Answers that are right in every second case, seen and blind, by six types; intervals hold over types."""
    false = 0
    for seed in range(60):
        found = claimed(drawn(90, 0.5, 10 + seed), drawn(90, 0.5, 500 + seed), types=tuple("abcdef"), seed=seed)
        false += any(c.established for c in found)
    assert false <= 8  # seen over all, seen by type, types: 5 % each; guessing is favoured


def test_questions_on_one_image_count_together():
    right = np.repeat(drawn(24, 0.7), 5)
    alone, together = (one(claimed(right, repeats=k), "gain") for k in (1, 5))
    assert together.high - together.low > 1.8 * (alone.high - alone.low)
    assert (together.n, together.inputs) == (120, 24)
    assert together.p > alone.p


def test_types_differ_where_they_do_and_the_pick_is_allowed_for():
    right = np.ravel(np.stack([drawn(80, 0.95), drawn(80, 0.5, 4)], axis=1))
    found = one(claimed(right), "types", "a against b")
    assert found.verdict == "established"
    assert found.p < 0.001
    plain = claimed(drawn(160, 0.7))
    differ = next(c for c in plain if c.kind == "types")
    assert not differ.established
    assert (differ.low <= 0 <= differ.high) == (differ.p > 0.05)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_all_right_and_all_wrong_are_no_certainty(share):
    found = claimed(np.full(12, bool(share)), np.full(12, bool(share)))
    right = one(found, "right")
    assert right.high - right.low > 15
    assert one(found, "seen").p == 1.0
    assert "All types have the same share" in eval_findings(found)[2].text


@pytest.mark.parametrize("right", [[True], [True, False, True]])
def test_one_type_and_few_examples_are_told(right):
    found = claimed(right, right, types=("only",))
    assert {c.about for c in found} == {"all"}
    assert len(eval_findings(found)) == 2


def table(*rows):
    keys = ("metric", "type", "shown", "value", "low", "high", "n")
    return conform(METRICS, [dict(zip(keys, row, strict=True)) for row in rows])


def scores(name, own, beside=None):
    rows = [
        {"example_id": f"e{k}", "type": "a", "metric": name, "shown": shown, "part": part, "whole": 1.0}
        for shown, parts in (("image", own), ("blank", beside))
        for k, part in enumerate(() if parts is None else parts)
    ]
    return conform(SCORES, rows)


def test_measures_are_judged_against_the_blind_control():
    rng = np.random.default_rng(0)
    own, beside = rng.gamma(2, 1, 30), rng.gamma(2, 0.4, 30)
    rows = (("cider_d", "all", "image", float(own.mean()), 1.5, 2.5, 30), ("cider_d", "all", "blank", 0.8, 0.5, 1, 30))
    made = answers(np.ones(30))
    tables = {"eval": conform(EVAL, made.drop("input").to_dicts()), "metrics": table(*rows)}
    seen = read_claims(chiasm.claims("eval", tables | {"scores": scores("cider_d", own, beside)}))
    difference = next(c for c in seen if c.kind == "measure-seen")
    assert difference.effect == pytest.approx(own.mean() - beside.mean())
    assert difference.established
    assert "with the image blanked" in metric_findings(seen)[0].text
    same = chiasm.claims("eval", tables | {"scores": scores("cider_d", own, own)})
    assert "practically the same" in metric_findings(read_claims(same))[0].text
    alone = read_claims(chiasm.claims("eval", tables))
    assert [c.verdict for c in alone] == ["uncontrolled"]
    assert "uncontrolled, as no blind control" in metric_findings(alone)[0].text


def test_right_answers_and_exact_match_have_one_interval():
    right, blind = drawn(40, 0.9), drawn(40, 0.5, 2)
    made = answers(right)
    rows = table(("accuracy", "all", "image", 0.9, 0.8, 0.95, 40), ("exact_match", "all", "image", 0.9, 0.8, 0.95, 40))
    tables = {
        "eval": made.drop("input"),
        "blind": made.drop("input").with_columns(correct=pl.Series(blind)),
        "metrics": rows,
        "scores": scores("exact_match", right.astype(float), blind.astype(float)),
    }
    found = read_claims(chiasm.claims("eval", tables))
    seen, same = one(found, "seen"), one(found, "measure-seen", "exact_match")
    assert (seen.low, seen.high, seen.p) == (same.low, same.high, same.p)


def test_the_smallest_effect_is_an_option():
    from chiasm.studies.study import study

    tables = {"eval": answers(drawn(400, 0.6)).drop("input")}
    small, large = (read_claims(study("eval").claims_of(tables, smallest=s)) for s in (1.0, 60.0))
    assert one(small, "gain").verdict != "practically none"
    assert one(large, "gain").verdict == "practically none"


def test_a_type_may_be_called_all():
    right = np.ravel(np.stack([drawn(80, 0.95), drawn(80, 0.4, 4)], axis=1))
    found = claimed(right, drawn(160, 0.5, 9), types=("all", "b"))
    assert one(found, "right").n == 160
    assert one(found, "type-right").n == 80
    assert "all (" in eval_findings(found)[2].text
