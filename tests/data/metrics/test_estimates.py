"""Ratios with intervals: clusters widen them, nothing to divide by is not zero, and certainty is not claimed."""

import numpy as np
import pytest

from chiasm.core.statistics.intervals import proportion_interval, share_interval
from chiasm.data.metrics import AnswerRatio, estimate


def test_a_ratio_of_sums_and_not_a_mean_of_ratios():
    found = estimate(AnswerRatio.of("m", [1, 0, 3], [1, 2, 9]))
    assert float(found.mean) == pytest.approx(4 / 12)
    assert found.low <= found.mean <= found.high
    assert found.n == 3


def test_independent_answers_get_wilsons_interval():
    found, wilson = estimate(AnswerRatio.of("m", [1] * 30 + [0] * 10)), proportion_interval(30, 40)
    assert (found.low, found.high, found.n) == (wilson.low, wilson.high, 40)
    part = estimate(AnswerRatio.of("precision", [1, 0, 0, 1], [1, 1, 0, 1]))
    assert (float(part.mean), part.n) == (pytest.approx(2 / 3), 3)


def test_questions_on_one_picture_make_the_interval_wider():
    rng = np.random.default_rng(0)
    right = np.repeat(rng.random(40) < 0.5, 6).astype(float)  # six questions, all right or all wrong
    pictures = [str(k // 6) for k in range(240)]
    alone, together = (
        estimate(AnswerRatio.of("m", right.tolist())),
        estimate(AnswerRatio.of("m", right.tolist()), pictures),
    )
    assert float(alone.mean) == float(together.mean)
    assert together.high - together.low > 2 * (alone.high - alone.low)


def chair(rng, n):
    """Objects named in a text, and those that are not there: texts differ in how much they make up."""
    wholes = rng.poisson(3, n).astype(float)
    return rng.binomial(wholes.astype(int), rng.beta(0.8, 3.2, n)).astype(float), wholes


def f1(rng, n):
    there = rng.random(n) < 0.5
    said = np.where(there, rng.random(n) < 0.85, rng.random(n) < 0.2)
    return 2.0 * (there & said), there.astype(float) + said


def precision(rng, n):
    said = rng.random(n) < 0.5
    return (said & (rng.random(n) < 0.8)).astype(float), said.astype(float)


def annotators(rng, n):
    return rng.choice([0, 0.3, 0.6, 0.9, 1], n, p=[0.3, 0.1, 0.1, 0.1, 0.4]), np.ones(n)


def cider(rng, n):
    return np.minimum(rng.gamma(0.8, 1.2, n), 10), np.ones(n)


@pytest.mark.parametrize("n", [12, 24, 100])
@pytest.mark.parametrize(
    ("name", "drawn"),
    [
        ("chair_i", chair),
        ("pope_f1", f1),
        ("pope_precision", precision),
        ("vqa_accuracy", annotators),
        ("cider_d", cider),
    ],
)
def test_intervals_hold_the_truth_as_often_as_they_say(name, drawn, n):
    """Of percentiles of resamples 85 % with 12 inputs, and 72 % of rare events."""
    parts, wholes = drawn(np.random.default_rng(0), 1_000_000)
    truth, rng, inside, runs = parts.sum() / wholes.sum(), np.random.default_rng(1), 0, 300
    for seed in range(runs):
        found = estimate(AnswerRatio(name, *drawn(rng, n)), seed=seed)
        inside += bool(found.low <= truth <= found.high)
    assert inside >= (0.88 if name == "cider_d" and n < 50 else 0.92) * runs


def test_questions_on_one_image_do_not_make_intervals_too_short():
    rng, inside = np.random.default_rng(2), 0
    images = np.repeat(np.arange(12), 5)
    for _ in range(400):
        right = rng.random(60) < np.repeat(rng.beta(2.1, 0.24, 12), 5)  # 90 % right, alike on one image
        found = estimate(AnswerRatio.of("accuracy", right.astype(float)), images)
        assert (found.low, found.high) == (share_interval(right, images).low, share_interval(right, images).high)
        inside += bool(found.low <= 2.1 / 2.34 <= found.high)
    assert inside >= 0.93 * 400


def test_all_alike_is_not_certainty():
    found = estimate(AnswerRatio.of("m", [0.0] * 20), [str(k // 4) for k in range(20)])
    assert found.low == 0
    assert found.high == pytest.approx(float(proportion_interval(0, 5).high))


def test_a_ratio_at_its_end_is_not_certain_either():
    """CHAIR_i of 0 in 30 mentions of 10 texts, F1 of 20 right answers: no resample could differ."""
    mentions = estimate(AnswerRatio.of("chair_i", [0] * 10, [3] * 10))
    assert mentions.mean == 0
    assert mentions.high == proportion_interval(0, 10).high > 0.2
    right = estimate(AnswerRatio.of("pope_f1", [2] * 20, [2] * 20), clusters=[str(k // 4) for k in range(20)])
    assert right.low == proportion_interval(5, 5).low < 0.6
    assert estimate(AnswerRatio.of("cider_d", [0] * 10)).high == 0  # no share: 0 of 10 is no count


def test_nothing_to_divide_by():
    assert estimate(AnswerRatio.of("precision", [0, 0], [0, 0])) is None
    few = estimate(AnswerRatio.of("m", [1, 0, 0, 0], [2, 0, 0, 0]))
    assert float(few.mean) == 0.5
    assert np.isnan(few.low)
    rare = estimate(AnswerRatio.of("m", [1, 2, 0, 0], [3, 3, 0, 0]))
    assert rare.high - rare.low > 0.9  # two texts
    assert np.isnan(estimate(AnswerRatio.of("caption_words", [3.0])).low)
