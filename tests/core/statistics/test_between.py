"""Differences between runs: exact where values are planted, and no more sure than they may be."""

import numpy as np
import pytest

from chiasm.core.statistics.between import Compared, Sample, difference_bands


def sample(values, prefix="a", present=None) -> Sample:
    values = np.asarray(values, dtype=float)
    there = np.ones(values.shape, dtype=bool) if present is None else present
    return Sample([f"{prefix}{i}" for i in range(len(values))], values, there)


def test_a_constant_shift_is_known_exactly_where_examples_are_paired():
    rng = np.random.default_rng(0)
    first = rng.normal(size=(20, 3)) * 50
    [found] = difference_bands([Compared(sample(first), sample(first + 0.25), True)], smallest_error=0.0)
    np.testing.assert_allclose(found.mean, 0.25)
    np.testing.assert_allclose(found.low, 0.25)
    assert (found.p < 0.01).all()
    [other] = difference_bands([Compared(sample(first), sample(first + 0.25, "b"), False)], smallest_error=0.0)
    np.testing.assert_allclose(other.mean, 0.25)
    assert (other.low < -5).all()
    assert (other.p > 0.5).all()


def test_interval_and_p_agree_and_hold_over_all_columns_of_all_pairs():
    rng = np.random.default_rng(1)
    first = rng.normal(size=(30, 4))
    pairs = [
        Compared(sample(first), sample(first + rng.normal(size=(30, 4)) * 0.5 + np.array([0, 0.2, 0.3, 0.6])), True),
        Compared(sample(first), sample(rng.normal(size=(25, 4)) + np.array([0, 0.5, 1.0, 1.6]), "b"), False),
    ]
    found = difference_bands(pairs, smallest_error=0.0)
    for bands in found:
        outside = (bands.low > 0) | (bands.high < 0)
        np.testing.assert_array_equal(outside, bands.p <= 0.05)
        assert outside.any()
        assert not outside.all()
    [alone] = difference_bands(pairs[:1], smallest_error=0.0)
    assert (found[0].high - found[0].low > alone.high - alone.low).all()


def test_examples_that_lack_a_column_are_left_out_of_it():
    values = np.array([[1.0, 9.0], [2.0, 9.0], [3.0, 0.0], [5.0, 0.0]])
    there = np.array([[True, True], [True, True], [True, False], [True, False]])
    pair = Compared(sample(values, present=there), sample(values + np.array([1, 2]), present=there), True)
    [found] = difference_bands([pair], smallest_error=0.0)
    np.testing.assert_allclose(found.mean, [1, 2])
    assert (pair.n, pair.inputs_behind) == ([4, 2], [4, 2])
    np.testing.assert_allclose(pair.first.mean, [2.75, 9])


def test_the_smaller_sample_decides():
    pair = Compared(sample(np.zeros((9, 1))), sample(np.zeros((200, 1)), "b"), False)
    assert (pair.n, pair.inputs_behind) == ([9], [9])


@pytest.mark.parametrize(("n", "m"), [(12, 80), (20, 20)])
def test_unpaired_intervals_miss_rarely(n, m):
    """In 100 trials of four columns without any difference, hardly any says that there is one."""
    rng = np.random.default_rng(2)
    missed = 0
    for trial in range(100):
        pair = Compared(sample(rng.normal(size=(n, 4))), sample(rng.normal(size=(m, 4)), "b"), False)
        [found] = difference_bands([pair], smallest_error=0.0, seed=trial)
        missed += bool(((found.low > 0) | (found.high < 0)).any())
    assert missed <= 10  # at most 5 are expected; 11 or more are seen in 1 % of such series
