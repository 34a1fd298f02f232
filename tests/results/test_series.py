"""Curves that figures draw: intervals hold for all places at once, whole inputs count, shares get those of shares."""

import numpy as np
import polars as pl
import pytest

from chiasm.core.statistics.bands import mean_bands
from chiasm.core.statistics.intervals import share_interval
from chiasm.results.series import curve, majority


def _frame(values, inputs=None):
    n, places = values.shape
    names = [f"e{k:03d}" for k in range(n)]
    return pl.DataFrame(
        {
            "example_id": np.repeat(names, places),
            "layer": np.tile(np.arange(places), n),
            "value": values.ravel(),
            "input": np.repeat(names if inputs is None else inputs, places),
        }
    )


def test_the_band_holds_for_all_places_at_once():
    """The true curve lies within all of the band in most samples; single intervals miss somewhere in most of them."""
    rng = np.random.default_rng(0)
    inside = {"together": 0, "alone": 0}
    for seed in range(60):
        values = rng.standard_exponential((24, 16)) - 1
        found = curve(_frame(values), "value")
        inside["together"] += bool(((found.low <= 0) & (found.high >= 0)).all())
        alone = mean_bands(values, simultaneous=False, seed=seed)
        inside["alone"] += bool(((alone.low <= 0) & (alone.high >= 0)).all())
    assert inside["together"] >= 52  # 95 % of 60, less three standard deviations
    assert inside["alone"] <= 45


def test_whole_inputs_are_drawn():
    image = np.random.default_rng(1).normal(size=(15, 3))
    values, inputs = np.repeat(image, 4, axis=0), np.repeat([f"i{k}" for k in range(15)], 4)
    together, apart, once = (
        curve(_frame(values, inputs), "value"),
        curve(_frame(values), "value"),
        curve(_frame(image), "value"),
    )
    assert (together.n, together.inputs) == (60, 15)
    np.testing.assert_allclose(together.high - together.low, once.high - once.low, rtol=0.05)
    assert (apart.high - apart.low < 0.7 * (together.high - together.low)).all()


def test_shares_keep_the_interval_of_shares():
    right = np.zeros((30, 4))
    right[:3, 1] = right[:20, 2] = right[:, 3] = 100.0
    found = curve(_frame(right), "value")
    for k in range(4):
        of = share_interval(right[:, k] == 100, tests=4)
        np.testing.assert_allclose((found.low[k], found.high[k]), (100 * of.low, 100 * of.high))
    assert found.high[0] > 10, "none of thirty is not certainly none"
    assert (found.low >= 0).all()
    assert (found.high <= 100).all()


def test_a_place_where_one_example_differs_leaves_the_others_their_band():
    values = np.random.default_rng(2).normal(size=(24, 5))
    values[:, 2] = 0.0
    values[0, 2] = 1e-4
    found, rest = curve(_frame(values), "value"), curve(_frame(np.delete(values, 2, axis=1)), "value")
    assert not np.isnan(found.low).any()
    np.testing.assert_allclose(np.delete(found.low, 2), rest.low, rtol=0.1)


def test_one_input_has_no_band():
    found = curve(_frame(np.arange(6.0).reshape(3, 2), ["i"] * 3), "value")
    assert np.isnan(found.low).all()


def test_majority_counts_every_type_by_itself():
    table = pl.DataFrame({"type": ["a"] * 4 + ["b"] * 2, "answer": ["x", "x", "x", "y", "z", "w"]})
    assert majority(table) == pytest.approx(4 / 6)
