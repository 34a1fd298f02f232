"""Examples that belong together (questions on one image) are resampled together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chiasm.core.statistics.intervals import (
    mean_interval,
    proportion_interval,
    share_interval,
)

REPEATS = 4


@pytest.fixture
def data():
    values = np.random.default_rng(3).normal(0.3, 1, (30, 5))
    return values, np.repeat(values, REPEATS, axis=0), np.repeat(np.arange(30), REPEATS)


def test_repeating_every_example_teaches_nothing(data):
    """Four equal questions on every image are known as well as one, and clusters say so."""
    once, repeated, clusters = data
    alone, together, naive = (
        mean_interval(once),
        mean_interval(repeated, clusters=clusters),
        mean_interval(repeated),
    )
    np.testing.assert_allclose(together.low, alone.low)
    np.testing.assert_allclose(together.high, alone.high)
    assert (naive.high - naive.low < 0.7 * (alone.high - alone.low)).all()
    assert (alone.n, together.n) == (30, 30 * REPEATS)


def test_clusters_of_different_size_weigh_by_their_examples():
    """By hand: clusters of 1 and 3 about the mean 0.75 leave residuals of -0.75 and 0.75."""
    values, clusters = np.array([[0.0], [1.0], [1.0], [1.0]]), ["a", "b", "b", "b"]
    assert mean_interval(values, clusters=clusters).mean == 0.75
    names = [f"{name}{k}" for k in range(40) for name in ("a", "b", "b", "b")]
    many = mean_interval(np.tile(values[:, 0], 40), clusters=names)
    error = np.sqrt(80 * 0.75**2 * 80 / 79) / 160
    # Student's point for 79 degrees of freedom is 1.99.
    assert float(many.high - many.low) / 2 == pytest.approx(1.99 * error, rel=0.1)


@given(st.permutations(range(8)))
def test_names_of_clusters_do_not_matter_where_each_is_alone(order):
    values = np.arange(16.0).reshape(8, 2)
    named, plain = mean_interval(values, clusters=[f"c{k}" for k in order]), mean_interval(values)
    np.testing.assert_array_equal(named.low, plain.low)


def test_one_cluster_has_no_interval():
    estimate = mean_interval(np.array([1.0, 2.0, 3.0]), clusters=["a"] * 3)
    assert estimate.n == 3
    assert np.isnan(estimate.low)
    assert np.isnan(estimate.high)


def test_a_cluster_for_every_example():
    with pytest.raises(ValueError, match="1 cluster names"):
        mean_interval(np.array([1.0, 2.0, 3.0]), clusters=["a"])


def test_a_share_over_repeated_questions_is_known_as_well_as_over_single_ones():
    right = np.random.default_rng(0).random(60) < 0.7
    once = share_interval(right)
    together = share_interval(np.repeat(right, REPEATS), np.repeat(np.arange(60), REPEATS))
    naive = share_interval(np.repeat(right, REPEATS))
    assert (once.low, once.high) == (proportion_interval(int(right.sum()), 60).low, once.high)
    width = float(once.high - once.low)
    assert float(together.high - together.low) == pytest.approx(width, rel=0.06)
    assert float(naive.high - naive.low) < 0.6 * width
    assert together.n == 60 * REPEATS


def test_clusters_that_say_nothing_change_little():
    rng = np.random.default_rng(1)
    right = rng.random(400) < 0.6
    mixed, plain = share_interval(right, rng.integers(0, 200, 400)), share_interval(right)
    assert float(mixed.high - mixed.low) == pytest.approx(float(plain.high - plain.low), rel=0.2)


def test_all_right_on_few_images_is_not_certainty():
    few = share_interval(np.ones(40, bool), np.repeat(np.arange(4), 10))
    assert float(few.low) == pytest.approx(float(proportion_interval(4, 4).low))
    assert np.isnan(share_interval(np.arange(6) < 3, ["i"] * 6).low)
