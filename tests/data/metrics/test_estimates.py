"""Ratios with intervals: clusters widen them, nothing to divide by is not zero, and certainty is not claimed."""

import numpy as np
import pytest

from chiasm.core.statistics.intervals import proportion_interval
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


def test_the_bootstrap_covers():
    rng, inside = np.random.default_rng(1), 0
    for seed in range(200):
        wholes = rng.poisson(3, 60).astype(float)
        found = estimate(AnswerRatio("m", rng.binomial(wholes.astype(int), 0.2).astype(float), wholes), seed=seed)
        inside += bool(found.low <= 0.2 <= found.high)
    assert 180 <= inside <= 199


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
    assert np.isnan(rare.low)
