"""Correlations agree with scipy, and say how little few points can say."""

import math

import numpy as np
import pytest
from scipy import stats

from chiasm.core.statistics.correlation import correlate


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
    assert math.isnan(found.spearman_low)
    assert math.isnan(found.spearman_high)


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


@pytest.mark.parametrize(("x", "y"), [([1.0], [1.0]), ([1.0, math.nan], [1.0, 2.0]), ([1.0, 2.0], [1.0])])
def test_bad_values_are_refused(x, y):
    with pytest.raises(ValueError):
        correlate(np.array(x), np.array(y))
