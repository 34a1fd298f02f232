"""Several paired shares at once, and few repeats: intervals and p-values agree, hold together, and are seldom wrong."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from chiasm.core.statistics.intervals import share_difference
from chiasm.core.statistics.shares import share_bands, student_bands


def answers(n: int, k: int, changed: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Paired answers of which so many change, as many for the better as for the worse."""
    rng = np.random.default_rng(seed)
    first = rng.random((n, k)) < 0.5
    return first, first ^ (rng.random((n, k)) < changed)


def test_one_column_is_the_interval_of_a_difference() -> None:
    first, second = answers(80, 1, 0.2, 0)
    bands, one = share_bands(first, second), share_difference(first[:, 0], second[:, 0])
    assert (bands.mean[0], bands.low[0], bands.high[0]) == (one.mean, one.low, one.high)
    many = share_bands(np.repeat(first, 10, axis=1), np.repeat(second, 10, axis=1))
    assert many.low[0] < bands.low[0] < bands.high[0] < many.high[0]
    alone = share_bands(np.repeat(first, 10, axis=1), np.repeat(second, 10, axis=1), simultaneous=False)
    assert (alone.low == bands.low[0]).all()


def test_p_is_at_most_a_twentieth_exactly_where_0_is_left_out() -> None:
    for seed in range(10):
        first, second = answers(40, 6, 0.3, seed)
        second[:, :3] &= np.random.default_rng(seed).random((40, 3)) < 0.7
        bands = share_bands(first, second)
        assert ((bands.p <= 0.05) == ((bands.low > 0) | (bands.high < 0))).all()


def test_all_right_and_none_changed_stay_honest() -> None:
    right = np.ones((50, 3), dtype=bool)
    bands = share_bands(right, right, clusters=[f"i{k // 5}" for k in range(50)])
    assert (bands.p == 1).all()
    assert (bands.high == share_bands(right[:10], right[:10]).high).all(), "ten images are ten draws"
    assert bands.inputs == 10
    one = share_bands(right, right, clusters=["i"] * 50)
    assert np.isnan([one.low, one.high, one.p]).all()


def test_a_p_value_is_never_0() -> None:
    first, second = np.ones((500, 1), dtype=bool), np.zeros((500, 1), dtype=bool)
    assert 0 < share_bands(first, second).p[0] < 1e-12


def test_columns_may_be_about_other_examples() -> None:
    first, second = answers(60, 2, 0.2, 1)
    present = np.ones((60, 2), dtype=bool)
    present[30:, 1] = False
    bands = share_bands(first, second, present=present, simultaneous=False)
    assert bands.n.tolist() == [60, 30]
    assert bands.high[1] == share_difference(first[:30, 1], second[:30, 1]).high
    with pytest.raises(ValueError, match="no example"):
        share_bands(first, second, present=present & [True, False])


def test_no_difference_is_seldom_claimed() -> None:
    named = sum(bool((share_bands(*answers(60, 8, 0.2, seed)).p <= 0.05).any()) for seed in range(100))
    assert named <= 11  # 5 % of 100, and three standard deviations


def test_few_repeats_have_students_intervals() -> None:
    values = np.random.default_rng(0).normal(0.1, 0.05, (7, 4))
    alone = student_bands(values, simultaneous=False)
    wanted = ttest_1samp(values, 0)
    assert alone.p == pytest.approx(wanted.pvalue)
    assert alone.low == pytest.approx(wanted.confidence_interval().low)
    together = student_bands(values)
    assert together.p == pytest.approx(np.minimum(1, 4 * wanted.pvalue))
    assert ((together.p <= 0.05) == (together.low > 0)).all()
    once = student_bands(values[:1])
    assert np.isnan([once.low, once.high, once.p]).all()
