"""The bootstrap of a stream: what parts give, what it covers, and questions that share a picture."""

import numpy as np
import pytest

from chiasm.core.statistics.intervals import mean_interval
from chiasm.core.statistics.streaming import UNITS, PoissonBootstrap, poisson_weights


def taken(values, units, parts=1):
    found = []
    for chosen in np.array_split(np.arange(len(values)), parts):
        found.append(PoissonBootstrap(0))
        for k in chosen:
            found[-1].add("x", [units[k]], values[k : k + 1])
    for other in found[1:]:
        found[0].merge(other)
    return found[0]


def names(n):
    return [f"e{k}" for k in range(n)]


@pytest.mark.parametrize(("n", "tolerance"), [(60, 0.1), (UNITS, 0.1), (UNITS + 40, 0.12)])
def test_it_agrees_with_the_interval_of_what_is_in_memory(n, tolerance):
    values = np.random.default_rng(0).gamma(2.0, size=(n, 2))
    found, expected = taken(values, names(n)).estimate("x", (2,)), mean_interval(values)
    assert found.n == n
    np.testing.assert_allclose(found.mean, expected.mean)
    np.testing.assert_allclose(found.high - found.low, expected.high - expected.low, rtol=tolerance)


@pytest.mark.parametrize("units", [30, UNITS, UNITS + 1, UNITS + 70])
def test_parts_add_up_bit_by_bit_in_any_order(units):
    """Of values whose sums are exact; two questions on some of the images, which fall into different parts."""
    rng = np.random.default_rng(1)
    asked = [f"e{k}" for k in (*range(units), *range(0, units, 3))]
    values = rng.integers(-50, 50, (len(asked), 2)).astype(float)
    one = taken(values, asked)
    for parts in (1, 4):
        order = rng.permutation(len(asked))
        other = taken(values[order], [asked[k] for k in order], parts)
        assert {name: found.tolist() for name, found in one.arrays.items()} == {
            name: found.tolist() for name, found in other.arrays.items()
        }
    again = PoissonBootstrap(0)
    again.restore(one.state())
    np.testing.assert_array_equal(again.estimate("x", (2,)).low, one.estimate("x", (2,)).low)


@pytest.mark.parametrize("n", [12, 40])
def test_intervals_cover(n):
    rng = np.random.default_rng(3)
    hits = []
    for trial in range(150):
        found = taken(rng.standard_normal((n, 1)), [f"{trial}:{k}" for k in range(n)]).estimate("x", (1,))
        hits.append(found.low[0] < 0 < found.high[0])
    # Binomial(150, 0.95): below 0.88 in one of a thousand; percentiles cover 0.90 with 12.
    assert np.mean(hits) >= 0.88


def test_questions_on_one_picture_come_and_go_together():
    values = np.repeat(np.random.default_rng(4).standard_normal((25, 1)), 8, axis=0)
    together = taken(values, [f"e{k // 8}" for k in range(200)]).estimate("x", (1,))
    apart = taken(values, names(200)).estimate("x", (1,))
    assert together.n == apart.n == 200
    assert (together.high - together.low) / (apart.high - apart.low) == pytest.approx(np.sqrt(8), rel=0.2)


@pytest.mark.parametrize("n", [1, 5])
def test_one_unit_has_no_interval(n):
    found = taken(np.arange(n)[:, None] * 1.0, ["same"] * n).estimate("x", (1,))
    assert np.isnan(found.low[0])
    assert found.mean[0] == (n - 1) / 2


def test_weights_are_poisson_and_depend_on_the_name():
    drawn = np.stack([poisson_weights(name, 0) for name in names(50)])
    assert drawn.mean() == pytest.approx(1, abs=0.03)
    assert drawn.var() == pytest.approx(1, abs=0.05)
    assert (poisson_weights("a", 0) != poisson_weights("b", 0)).any()
    assert (poisson_weights("a", 0) != poisson_weights("a", 1)).any()
