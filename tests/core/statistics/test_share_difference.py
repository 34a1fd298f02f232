"""The difference of two paired shares against a plain search for the restricted likelihood, and its coverage."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from chiasm.core.statistics.intervals import share_difference, shares_differ


def pairs(lost: int, gained: int, same: int) -> tuple[np.ndarray, np.ndarray]:
    first = np.array([True] * lost + [False] * gained + [True] * same)
    second = np.array([False] * lost + [True] * gained + [True] * same)
    return first, second


def statistic(lost: int, gained: int, n: int, delta: float) -> float:
    """Tango's statistic with the restricted likelihood maximised numerically: a multinomial with p12 - p21 = delta."""

    def minus(p21: float) -> float:
        p12, rest = p21 + delta, 1 - 2 * p21 - delta
        terms = ((lost, p12), (gained, p21), (n - lost - gained, rest))
        return -sum(count * np.log(max(p, 1e-300)) for count, p in terms if count)

    low, high = max(0.0, -delta), (1 - delta) / 2
    p21 = minimize_scalar(minus, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x
    return (lost - gained - n * delta) / np.sqrt(n * (2 * p21 + delta - delta**2))


@pytest.mark.parametrize(("lost", "gained", "n"), [(9, 4, 44), (1, 0, 364), (0, 0, 50), (12, 12, 60), (3, 30, 40)])
def test_bounds_are_where_the_score_statistic_is_critical(lost: int, gained: int, n: int) -> None:
    found = share_difference(*pairs(lost, gained, n - lost - gained))
    assert found.mean == pytest.approx((lost - gained) / n)
    assert statistic(lost, gained, n, float(found.low)) == pytest.approx(1.96, abs=5e-3)
    assert statistic(lost, gained, n, float(found.high)) == pytest.approx(-1.96, abs=5e-3)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 40))
def test_bounds_hold_the_mean_mirror_and_narrow(lost: int, gained: int, same: int) -> None:
    if lost + gained + same < 2:
        return
    found, other = (share_difference(*pairs(*counts, same)) for counts in ((lost, gained), (gained, lost)))
    assert -1 <= found.low <= found.mean <= found.high <= 1
    assert found.low == pytest.approx(-other.high, abs=1e-9)
    assert found.low < found.high
    many = share_difference(*pairs(4 * lost, 4 * gained, 4 * same))
    assert many.high - many.low < found.high - found.low


def test_a_change_more_does_not_make_surer() -> None:
    """One answer changed of 364: resamples that miss it promised a tighter bound than no change at all."""
    none, one = (share_difference(*pairs(0, k, 364 - k)) for k in (0, 1))
    assert one.high - one.low > none.high - none.low
    assert one.high > 0.005


@pytest.mark.parametrize(("p12", "p21", "n"), [(0.01, 0.01, 200), (0.005, 0.0, 364), (0.05, 0.02, 100)])
def test_it_covers(p12: float, p21: float, n: int) -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(600):
        drawn = rng.random(n)
        found = share_difference(drawn < p12, (drawn >= p12) & (drawn < p12 + p21))
        hits += found.low <= p12 - p21 <= found.high
    assert hits / 600 > 0.91


def test_questions_on_one_picture_count_together() -> None:
    first, second = pairs(10, 2, 28)
    alone = share_difference(first, second)
    doubled = share_difference(np.repeat(first, 2), np.repeat(second, 2), np.repeat(np.arange(40), 2))
    assert doubled.high - doubled.low == pytest.approx(alone.high - alone.low, rel=0.06)
    nothing = share_difference(np.ones(40, bool), np.ones(40, bool), np.repeat(np.arange(10), 4))
    assert nothing.high == pytest.approx(float(share_difference(*pairs(0, 0, 10)).high))
    one = share_difference(first, second, ["picture"] * 40)
    assert np.isnan(one.low)
    assert np.isnan(one.high)
    with pytest.raises(ValueError, match="no pairs"):
        share_difference(first, second[:3])


@pytest.mark.parametrize("tests", [1, 6])
def test_test_and_interval_of_paired_shares_agree(tests: int) -> None:
    rng, seen = np.random.default_rng(4), set()
    for run in range(120):
        first, second = rng.random((2, 60)) < rng.random((2, 1))
        clusters = None if run % 2 else np.repeat(np.arange(12), 5)
        found, p = (
            share_difference(first, second, clusters, tests=tests),
            shares_differ(first, second, clusters, tests=tests),
        )
        outside = bool(found.low > 0 or found.high < 0)
        assert outside == (p < 0.05)
        seen.add(outside)
    assert seen == {True, False}
    assert shares_differ(*pairs(9, 1, 10)) == pytest.approx(2 * (1 - norm.cdf(8 / 10**0.5)))  # McNemar by hand
    assert np.isnan(shares_differ(first, second, ["one"] * 60))
