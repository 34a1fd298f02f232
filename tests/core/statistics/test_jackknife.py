"""Intervals from groups: they hold what they promise on simulated data."""

import numpy as np
import pytest
from scipy import stats

from chiasm.core.statistics.jackknife import (
    GROUPS,
    changes,
    group_jackknife,
    group_of,
    pairs_across,
    priority,
    without_each,
)


def sums_of(values, groups):
    found = np.zeros((GROUPS, *values.shape[1:]))
    np.add.at(found, groups, values)
    return found


def covered(rng, n, quantity, truth, draws=400):
    """How often the interval of `quantity` over n random examples takes in the truth."""
    inside = 0
    for draw in range(draws):
        data = rng.standard_normal((n, 6)) + np.arange(6) / 3
        groups = np.array([group_of(f"{draw}-{k}") for k in range(n)])
        counts = np.bincount(groups, minlength=GROUPS).astype(float)
        found = group_jackknife(quantity(without_each(sums_of(data, groups)), without_each(counts)), counts)
        inside += bool(found.low <= truth <= found.high)
    return inside / draws


def mean_of_first(sums, counts):
    return sums[:, 0] / counts


def cosine_of_means(sums, counts):
    a, b = sums[:, :3], sums[:, 3:]
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.mark.parametrize("n", [12, 25, 60, 300])
def test_coverage_of_a_mean(n):
    assert 0.90 <= covered(np.random.default_rng(n), n, mean_of_first, 0.0) <= 0.985


@pytest.mark.parametrize("n", [60, 300])
def test_coverage_of_a_smooth_function_of_means(n):
    centre = np.arange(6) / 3
    truth = centre[:3] @ centre[3:] / np.linalg.norm(centre[:3]) / np.linalg.norm(centre[3:])
    assert 0.90 <= covered(np.random.default_rng(n), n, cosine_of_means, truth) <= 0.985


def test_equal_groups_give_the_standard_error_of_the_mean():
    values = np.random.default_rng(0).standard_normal(GROUPS)
    counts = np.ones(GROUPS)
    found = group_jackknife(without_each(values) / without_each(counts), counts)
    assert found.mean == pytest.approx(values.mean())
    standard_error = values.std(ddof=1) / np.sqrt(GROUPS)
    assert (found.high - found.low) / 2 == pytest.approx(2.093024 * standard_error, rel=1e-5)


def test_groups_of_different_size_count_as_fewer():
    """Two groups hold nearly all: the interval is that of hardly more than two groups."""
    counts = np.array([50.0, 50.0, 1.0, 1.0] + [0.0] * (GROUPS - 4))
    sums = counts * np.array([1.0, -1.0, 0.5, -0.5] + [0.0] * (GROUPS - 4))
    found = group_jackknife(without_each(sums) / without_each(counts), counts)
    h = 102 / counts[:4]
    left = (0 - sums[:4]) / (102 - counts[:4])
    error = np.sqrt((((h - 1) * left) ** 2 / (h - 1)).mean())
    alike = 102**2 / (2 * 50**2 + 2)
    assert float(found.high) == pytest.approx(stats.t.ppf(0.975, alike - 1) * error, rel=0.01)


def test_one_group_has_no_interval():
    counts = np.zeros(GROUPS)
    counts[3] = 5
    values = np.full(GROUPS + 1, 0.4)
    found = group_jackknife(values, counts)
    assert (float(found.mean), found.n) == (0.4, 5)
    assert np.isnan(found.low)


def test_non_finite_values_are_refused():
    values = np.ones(GROUPS + 1)
    values[2] = np.nan
    with pytest.raises(ValueError):
        group_jackknife(values, np.ones(GROUPS))


def test_groups_are_even_and_depend_on_the_identifier_only():
    counts = np.bincount([group_of(f"example-{k}") for k in range(20_000)], minlength=GROUPS)
    assert counts.min() > 900
    assert counts.max() < 1100
    assert priority("a", 0) != priority("a", 1)
    assert priority("a", 0) == priority("a", 0)


def test_changes_of_parts_give_the_interval_of_a_difference():
    """Two means over the same inputs: the difference of their changes knows what they share."""
    rng = np.random.default_rng(0)
    common = rng.standard_normal(200)
    data = np.stack([common + 0.1 * rng.standard_normal(200), common + 0.1 * rng.standard_normal(200)], axis=1)
    groups = np.array([group_of(str(k)) for k in range(200)])
    counts = np.bincount(groups, minlength=GROUPS).astype(float)
    values = without_each(sums_of(data, groups)) / without_each(counts)[:, None]
    added = changes(values, counts)
    np.testing.assert_allclose(added.sum(axis=0), 0, atol=1e-12)
    expected = sums_of(data - data.mean(axis=0), groups) / 200
    np.testing.assert_allclose(added, expected, atol=1e-12)
    error = np.sqrt((added[:, 0] - added[:, 1]) @ (added[:, 0] - added[:, 1]) * GROUPS / (GROUPS - 1))
    assert error == pytest.approx(np.std(data[:, 0] - data[:, 1], ddof=1) / np.sqrt(200), rel=0.4)


def test_pairs_across_are_of_different_groups():
    rng = np.random.default_rng(0)
    groups = np.array([0, 0, 1, 2, 2, 2, 5])
    a, b = rng.standard_normal((2, 7, 3))
    counts = np.bincount(groups, minlength=GROUPS).astype(float)
    found = pairs_across(sums_of(a, groups), sums_of(b, groups), counts, counts)
    assert found is not None
    for left, value in zip((None, 0, 1, 5), found[[0, 1, 2, 6]], strict=True):
        products = [a[i] @ b[j] for i in range(7) for j in range(7) if groups[i] != groups[j]
                    and left not in (groups[i], groups[j])]  # fmt: skip
        assert value == pytest.approx(np.mean(products))
    one = np.zeros(7, dtype=int)
    counts = np.bincount(one, minlength=GROUPS).astype(float)
    assert pairs_across(sums_of(a, one), sums_of(b, one), counts, counts) is None
