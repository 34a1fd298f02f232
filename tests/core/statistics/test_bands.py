"""Means with simultaneous intervals: interval and p-value agree, clusters are drawn whole, and promises hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from chiasm.core.statistics.bands import ALPHA, RESAMPLES, mean_bands, over_models, over_shared_models


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(3, 40), k=st.integers(1, 5), shift=st.floats(-1, 1), clustered=st.booleans(), seed=st.integers(0, 999)
)
def test_an_interval_leaves_out_zero_exactly_where_p_is_at_most_five_percent(n, k, shift, clustered, seed):
    rng = np.random.default_rng(seed)
    values = rng.standard_exponential((n, k)) - 1 + shift
    clusters = rng.integers(0, max(2, n // 3), n) if clustered else None
    bands = mean_bands(values, clusters=clusters, resamples=199, seed=seed)
    if np.isnan(bands.p).any():
        assert clustered
        assert len(set(clusters)) < 2
        return
    excluded = (bands.low > 0) | (bands.high < 0)
    assert (excluded == (bands.p <= ALPHA)).all()
    there = ~np.isnan(bands.low)
    assert (bands.low <= bands.mean)[there].all()
    assert (bands.mean <= bands.high)[there].all()
    assert (bands.p[~there] > ALPHA).all()


def test_the_mean_and_error_are_those_of_the_definitions():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(50, 2))
    bands = mean_bands(values, simultaneous=False)
    np.testing.assert_allclose(bands.mean, values.mean(axis=0), atol=1e-12)
    half = (bands.high - bands.low) / 2
    error = values.std(axis=0, ddof=1) / np.sqrt(50)
    # Student's point for 49 degrees of freedom is 2.01.
    np.testing.assert_allclose(half / error, 2.01, atol=0.25)


def test_simultaneous_bands_are_wider_than_single_ones_and_p_larger():
    values = np.random.default_rng(1).normal(0.3, 1, size=(40, 12))
    together, alone = mean_bands(values), mean_bands(values, simultaneous=False)
    assert (together.high - together.low > alone.high - alone.low).all()
    assert (together.p >= alone.p).all()


def test_columns_may_be_about_different_examples():
    rng = np.random.default_rng(2)
    values = rng.normal(size=(30, 2))
    present = np.ones((30, 2), dtype=bool)
    present[20:, 1] = False
    values[20:, 1] = 1e6  # must not be read
    bands = mean_bands(values, present=present)
    np.testing.assert_allclose(bands.mean, [values[:, 0].mean(), values[:20, 1].mean()])
    assert bands.n.tolist() == [30, 20]


def test_a_contrast_of_columns_is_their_difference():
    rng = np.random.default_rng(3)
    values = rng.normal(size=(60, 2)) + np.array([0.0, 1.0])
    contrast = mean_bands(values, contrasts=np.array([[-1.0, 1.0]]), simultaneous=False)
    difference = mean_bands((values[:, 1] - values[:, 0])[:, None], simultaneous=False)
    np.testing.assert_allclose(contrast.mean, difference.mean)
    np.testing.assert_allclose(contrast.low, difference.low, atol=1e-9)


def test_questions_on_one_image_count_as_one():
    rng = np.random.default_rng(4)
    image = np.repeat(rng.normal(size=12), 10)
    values = (image + 0.01 * rng.normal(size=120))[:, None]
    clustered = mean_bands(values, clusters=np.repeat(np.arange(12), 10))
    apart = mean_bands(values)
    assert (clustered.high - clustered.low) > 2 * (apart.high - apart.low)
    assert clustered.inputs == 12
    assert clustered.n.tolist() == [120]


def test_one_example_and_one_cluster_give_no_interval():
    for values, clusters in ((np.ones((1, 2)), None), (np.ones((5, 2)), ["a"] * 5)):
        bands = mean_bands(values, clusters=clusters)
        assert np.isnan(bands.low).all()
        assert np.isnan(bands.p).all()


def test_equal_values_do_not_hide_behind_a_spread_of_zero():
    values = np.full((20, 1), 0.01)
    assert mean_bands(values).low[0] == pytest.approx(0.01)
    # Student's point for 19 degrees of freedom is 2.093: an error of 0.01 reaches so far, however alike the sample is.
    floored = mean_bands(values, smallest_error=0.01)
    assert floored.low[0] == pytest.approx(0.01 - 2.093024 * 0.01)
    assert floored.p[0] == pytest.approx(2 * stats.t.sf(1, 19))
    rare = np.zeros((20, 1))
    rare[0] = 1e-6
    assert mean_bands(rare, smallest_error=0.01).p[0] > 0.5


@pytest.mark.parametrize("n", [8, 12, 60])
def test_no_interval_is_narrower_than_students(n):
    values = np.random.default_rng(n).standard_exponential((n, 8))
    alone = mean_bands(values, simultaneous=False)
    student = stats.t.interval(0.95, n - 1, values.mean(axis=0), stats.sem(values))
    assert (alone.low <= student[0] + 1e-9).all()
    assert (alone.high >= student[1] - 1e-9).all()
    assert (alone.p >= stats.ttest_1samp(values, 0).pvalue - 1e-12).all()


def test_a_sample_without_its_rare_values_does_not_pass_for_a_certain_one():
    """Nearly all values within 0.001, one in fifty at 0.5: samples of 24 without any must still take in the mean."""
    rng = np.random.default_rng(6)
    covered = 0
    for seed in range(100):
        values = np.where(rng.random(24) < 0.02, 0.5, -0.01) + 0.001 * rng.normal(size=24)
        bands = mean_bands(values[:, None], smallest_error=0.01, simultaneous=False, resamples=199, seed=seed)
        covered += bands.low[0] <= 0.0002 <= bands.high[0]
    assert covered >= 93


def test_a_column_without_an_interval_leaves_the_others_theirs():
    values = np.random.default_rng(7).normal(size=(24, 3))
    values[:, 1] = 0.0
    values[0, 1] = 1.0  # one example differs: more than a third of resamples lack it
    bands, rest = mean_bands(values), mean_bands(values[:, [0, 2]])
    assert np.isnan(bands.low).tolist() == [False, True, False]
    assert bands.p[1] > ALPHA
    np.testing.assert_allclose(bands.low[[0, 2]], rest.low)


def test_a_column_of_one_cluster_has_no_interval():
    values, present = np.random.default_rng(8).normal(5, 1, size=(20, 2)), np.ones((20, 2), dtype=bool)
    present[5:, 1] = False
    bands = mean_bands(values, present=present, clusters=np.repeat(np.arange(4), 5))
    assert np.isnan([bands.low[1], bands.high[1], bands.p[1]]).all()
    assert not np.isnan(bands.low[0])


def test_what_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="NaN or infinite"):
        mean_bands(np.array([[1.0], [np.nan]]))
    with pytest.raises(ValueError, match="no example"):
        mean_bands(np.ones((3, 1)), present=np.zeros((3, 1), dtype=bool))


@pytest.mark.parametrize("n", [12, 24])
def test_intervals_cover_and_false_findings_are_rare(n):
    """A coarse check on every run; `bench/calibration.py` measures it."""
    rng = np.random.default_rng(5)
    runs, covered, false = 200, 0, 0
    for seed in range(runs):
        values = -rng.standard_exponential((n, 6)) + 1
        bands = mean_bands(values, resamples=199, seed=seed)
        covered += mean_bands(values[:, :1], resamples=199, seed=seed).low[0] <= 0
        false += bool((bands.p <= ALPHA).any())
    assert covered >= 0.9 * runs
    assert false <= 0.12 * runs


def test_the_number_of_resamples_lets_p_reach_five_percent():
    assert int((1 + RESAMPLES) * ALPHA) == (1 + RESAMPLES) * ALPHA


@pytest.mark.parametrize(("columns", "error"), [(1, 0.1), (1, 1.5), (6, 0.1), (18, 0.7)])
def test_a_difference_holds_beside_one_more_model_of_the_control(columns, error):
    rng, n = np.random.default_rng(0), 40
    covered, alone, runs = 0, 0, 150
    for k in range(runs):
        # Four models with random weights share the examples; the truth differs from model to model.
        true, models = rng.normal(0, 0.5, (5, columns)), np.arange(n) % 4
        control = true[models] + error * rng.normal(size=(n, columns))
        bands = mean_bands(1.0 - control, resamples=199, seed=k)
        wider = over_shared_models(bands, control, np.ones_like(control, dtype=bool), models)
        inside = (wider.low <= 1.0 - true[4]) & (1.0 - true[4] <= wider.high)
        covered += bool(inside.all())
        alone += bool(((bands.low <= 1.0 - true[4]) & (1.0 - true[4] <= bands.high)).all())
        assert (wider.low <= bands.low).all()
        assert (wider.high >= bands.high).all()
        assert (wider.p >= bands.p).all()
        assert ((wider.p <= 0.05) == ((wider.low > 0) | (wider.high < 0))).all()
    assert covered / runs >= 0.91
    assert alone / runs < 0.85  # what the interval over examples alone would claim


def test_a_column_of_one_model_alone_has_no_interval_and_a_control_of_one_model_changes_nothing():
    values = np.random.default_rng(0).normal(size=(20, 2))
    values[::2, 0] += 3
    present = np.ones((20, 2), dtype=bool)
    present[1::2, 1] = False
    bands = mean_bands(values, present=present, resamples=199)
    wider = over_shared_models(bands, values, present, [0, 1] * 10)
    assert wider.high[0] > bands.high[0]
    assert wider.low[0] < bands.low[0]
    assert np.isnan([wider.low[1], wider.high[1], wider.p[1]]).all()
    assert over_shared_models(bands, values, present, [3] * 20) is bands


def test_models_that_agree_exactly_are_no_proof_that_others_do():
    values = np.full((20, 1), 3.0) + 0.1 * np.random.default_rng(0).normal(size=(20, 1))
    bands = mean_bands(values, resamples=199)
    assert (
        over_models(bands, np.array([[0.0], [np.nan]]), smallest=4).low == bands.low
    )  # one model says nothing of others
    same = over_models(bands, np.zeros((2, 1)), smallest=4)
    assert same.low[0] < 0 < same.high[0]
    assert same.p[0] > 0.05


def test_a_skewed_column_widens_no_other_where_each_is_one_of_several_tests():
    rng = np.random.default_rng(0)
    calm = rng.normal(-1.0, 0.5, (40, 1))
    rare = np.zeros((40, 1))
    rare[:2] = 5.0
    values = np.hstack([calm, rare])
    joint = mean_bands(values, smallest_error=0.01)
    apart = mean_bands(values, smallest_error=0.01, simultaneous=False, tests=2)
    alone = mean_bands(calm, smallest_error=0.01, simultaneous=False, tests=2)
    single = mean_bands(calm, smallest_error=0.01)
    assert joint.high[0] - joint.low[0] > 2 * (apart.high[0] - apart.low[0])
    assert (apart.low[0], apart.high[0]) == pytest.approx((alone.low[0], alone.high[0]))
    assert apart.low[0] < single.low[0] < single.high[0] < apart.high[0]
    assert apart.p[0] == pytest.approx(2 * single.p[0])


def test_several_tests_of_nothing_are_wrong_in_at_most_one_of_twenty_runs():
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(150):
        found = mean_bands(rng.normal(0, 1, (20, 5)), simultaneous=False, tests=5)
        excludes = (found.low > 0) | (found.high < 0)
        assert (excludes == (found.p <= ALPHA)).all()
        wrong += bool(excludes.any())
    assert wrong <= 14


def test_more_tests_than_resamples_tell_apart():
    with pytest.raises(ValueError, match="1999 resamples are too few for 51 tests"):
        mean_bands(np.ones((3, 2)), simultaneous=False, tests=51)
