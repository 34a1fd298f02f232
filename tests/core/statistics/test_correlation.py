"""Correlations agree with scipy, and say how little few points can say."""

import math

import numpy as np
import pytest
from scipy import stats

from chiasm.core.statistics.correlation import correlate, relations


def test_coefficients_and_intervals_are_the_usual_ones():
    rng = np.random.default_rng(0)
    x = rng.standard_normal(30)
    y = x + rng.standard_normal(30)
    found = correlate(x, y)
    theirs = stats.pearsonr(x, y)
    assert found.pearson == pytest.approx(theirs.statistic)
    interval = theirs.confidence_interval()
    assert (found.pearson_low, found.pearson_high) == pytest.approx((interval.low, interval.high), rel=1e-6)
    assert found.spearman == pytest.approx(stats.spearmanr(x, y).statistic)
    assert found.spearman_low < found.spearman < found.spearman_high
    assert found.p < 0.01


def test_four_points_in_order_prove_nothing():
    found = correlate(np.array([1.0, 2, 3, 4]), np.array([2.0, 3, 5, 9]))
    assert found.spearman == 1
    assert found.p == found.smallest == pytest.approx(2 / 24)
    assert found.pearson_low < 0.6
    # An interval from 1 to 1 would say that it is settled.
    assert (found.spearman_low, found.spearman_high) == (0.0, 1.0)


def test_three_points_have_no_interval():
    found = correlate(np.array([1.0, 2, 3]), np.array([3.0, 1, 2]))
    assert math.isnan(found.pearson_low)
    assert found.n == 3


def test_without_spread_there_is_no_correlation():
    found = correlate(np.ones(5), np.arange(5.0))
    assert math.isnan(found.pearson)
    assert math.isnan(found.p)


def test_permutation_p_is_uniform_without_relation():
    rng = np.random.default_rng(1)
    ps = [correlate(rng.standard_normal(6), rng.standard_normal(6)).p for _ in range(300)]
    assert 0.02 < np.mean(np.array(ps) <= 0.05) < 0.09


@pytest.mark.parametrize("n", [4, 6, 9, 12])
def test_interval_and_p_value_agree(n):
    rng = np.random.default_rng(n)
    for _ in range(25):
        x, y = rng.standard_normal((n, 2)), rng.standard_normal((n, 1))
        if rng.random() < 0.5:
            y = x[:, :1] + 0.3 * y
        for one in relations(x, y, [(0, 0), (1, 0)]):
            assert one.low <= one.spearman <= one.high
            assert (one.low > 0 or one.high < 0) == (one.p <= 0.05)


def test_relations_looked_at_together_are_corrected_for_each_other():
    rng = np.random.default_rng(0)
    runs = [relations(rng.standard_normal((7, 6)), rng.standard_normal((7, 1)), [(k, 0) for k in range(6)])
            for _ in range(60)]  # fmt: skip
    assert np.mean([any(one.p <= 0.05 for one in found) for found in runs]) <= 0.12
    x, y = rng.standard_normal((7, 6)), rng.standard_normal((7, 1))
    alone = [relations(x[:, [k]], y, [(0, 0)])[0].p for k in range(6)]
    assert all(one.p >= own for one, own in zip(relations(x, y, [(k, 0) for k in range(6)]), alone, strict=True))
    assert relations(x, y, [(0, 0)], tests=3)[0].p == pytest.approx(min(1, 3 * alone[0]))


def test_a_point_without_an_outcome_is_left_out_of_that_one_alone():
    x = np.arange(6.0)[:, None]
    y = np.stack([np.arange(6.0), [0, 1, 2, 3, 4, math.nan]], axis=1)
    whole, part = relations(x, y, [(0, 0), (0, 1)])
    assert (whole.n, part.n) == (6, 5)
    assert whole.spearman == part.spearman == 1


@pytest.mark.parametrize(("x", "y"), [([1.0], [1.0]), ([1.0, math.nan], [1.0, 2.0]), ([1.0, 2.0], [1.0])])
def test_bad_values_are_refused(x, y):
    with pytest.raises(ValueError):
        correlate(np.array(x), np.array(y))
