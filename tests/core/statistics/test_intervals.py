import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import special, stats

from chiasm.core.statistics import bands, intervals
from chiasm.core.statistics.intervals import holm, mean_interval, proportion_interval, runs_of_true

small = st.floats(-100, 100, allow_nan=False, width=32)


def test_mean_and_interval_of_normal_values_are_students():
    data = np.random.default_rng(1).normal(2, 1, 200)
    ours = mean_interval(data)
    student = stats.t.interval(0.95, 199, data.mean(), stats.sem(data))
    assert (ours.low, ours.high) == (pytest.approx(student[0], abs=0.02), pytest.approx(student[1], abs=0.02))
    assert ours.mean == data.mean()
    assert ours.n == 200


def test_columns_are_treated_alike():
    data = np.random.default_rng(2).normal(size=(30, 2, 3))
    together = mean_interval(data, seed=3)
    assert together.low.shape == (2, 3)
    for index in np.ndindex(2, 3):
        alone = mean_interval(data[:, *index], seed=3)
        assert together.low[index] == pytest.approx(alone.low, abs=1e-12)
        assert together.high[index] == pytest.approx(alone.high, abs=1e-12)


@given(arrays(np.float64, st.tuples(st.integers(2, 12), st.integers(1, 3)), elements=small), st.integers(0, 9))
@settings(max_examples=50)
def test_interval_takes_in_the_mean_and_follows_scale(data, seed):
    estimate = mean_interval(data, seed=seed, resamples=199)
    there = ~np.isnan(estimate.low)
    assert (estimate.low <= estimate.mean + 1e-9)[there].all()
    assert (estimate.mean <= estimate.high + 1e-9)[there].all()
    doubled = mean_interval(2 * data + 1, seed=seed, resamples=199)
    spread = there & (estimate.high - estimate.low > 1e-6)
    np.testing.assert_allclose(doubled.low[spread], 2 * estimate.low[spread] + 1, atol=1e-6)
    constant = mean_interval(np.full(5, 3.25))
    assert (constant.low, constant.high) == (3.25, 3.25)


def test_chunks_give_what_one_step_gives(monkeypatch):
    data = np.random.default_rng(0).normal(size=(50, 4))
    whole = mean_interval(data, seed=1)
    monkeypatch.setattr("chiasm.core.statistics.bands._CELLS", 1000)
    np.testing.assert_allclose(whole.low, mean_interval(data, seed=1).low, rtol=1e-12)
    assert len(list(bands.draws(50, 2000, 1))) == 100


@pytest.mark.parametrize("n", [24, 60])
def test_coverage_of_the_mean(n):
    # Skewed data, 400 repetitions; nominal 95 %, binomial sd 1.1 points. Percentiles cover 86 % with 12.
    rng = np.random.default_rng(5)
    hit = 0
    for seed in range(400):
        estimate = mean_interval(rng.exponential(1, n), resamples=399, seed=seed)
        hit += bool(estimate.low <= 1 <= estimate.high)
    assert 0.91 <= hit / 400 <= 0.98


def test_one_example_has_no_interval():
    estimate = mean_interval(np.array([[1.0, 2.0]]))
    assert estimate.mean.tolist() == [1, 2]
    assert np.isnan(estimate.low).all()
    assert np.isnan(estimate.high).all()


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_equals_scipy(case):
    successes, n = case
    ours = proportion_interval(successes, n)
    theirs = stats.binomtest(successes, n).proportion_ci(0.95, method="wilson")
    assert ours.low == pytest.approx(theirs.low, abs=1e-12)
    assert ours.high == pytest.approx(theirs.high, abs=1e-12)
    assert 0 <= ours.low <= ours.mean <= ours.high <= 1


@given(arrays(np.float64, st.integers(1, 8), elements=st.floats(0, 1)))
def test_holm_by_its_definition(p):
    adjusted = holm(p)
    order = np.argsort(p, kind="stable")
    for rank, i in enumerate(order):
        expected = max(min(1, (len(p) - r) * p[order[r]]) for r in range(rank + 1))
        assert adjusted[i] == pytest.approx(expected)
    assert (adjusted >= p).all()


@given(st.lists(st.booleans(), max_size=12))
def test_runs_cover_exactly_what_is_true(mask):
    runs = runs_of_true(np.array(mask, dtype=bool))
    assert [i for a, b in runs for i in range(a, b)] == [i for i, m in enumerate(mask) if m]
    assert all(b < c for (_, b), (c, _) in itertools.pairwise(runs))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("function", [mean_interval, holm])
def test_what_is_not_a_number_is_refused(function, bad):
    data = np.full((4, 2) if function is not holm else 4, 0.5)
    data.flat[1] = bad
    with pytest.raises(ValueError, match=rf"1 of {data.size} .*NaN or infinite"):
        function(data)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_interval(np.zeros((0, 3))), "there are no values"),
        (lambda: proportion_interval(3, 2), "no proportion"),
        (lambda: proportion_interval(0, 0), "no proportion"),
        (lambda: holm(np.array([1.5])), "between 0 and 1"),
    ],
)
def test_other_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_quantile_is_scipys():
    assert float(special.ndtri(0.975)) == intervals._Z
