"""Labels dealt anew: how often a difference is claimed where there is none, and that one is found where there is."""

import numpy as np
import pytest

from chiasm.core.statistics.relabelling import relabelled


def drawn(rng, n, both, shift, columns=3):
    """Inputs of which `both` have both kinds, the others one; a shared part makes pairs alike."""
    shared = rng.normal(0, 1, (n, 1))
    first, second = shared + shift + rng.normal(0, 0.5, (n, columns)), shared + rng.normal(0, 0.5, (n, columns))
    kind = rng.random(n) < 0.5
    one, two = np.ones((n, columns), dtype=bool), np.ones((n, columns), dtype=bool)
    one[both:][~kind[both:]] = False
    two[both:][kind[both:]] = False
    return first, second, one, two


@pytest.mark.parametrize("both", [0, 20, 40])
def test_without_a_difference_few_are_found_and_with_one_it_is(both):
    rng = np.random.default_rng(both)
    least = [relabelled(*drawn(rng, 40, both, 0.0), resamples=199, seed=k).min() for k in range(200)]
    assert np.mean(np.array(least) <= 0.05) <= 0.085  # 0.05 and two standard errors
    assert np.mean(np.array(least) <= 0.5) >= 0.35
    assert (relabelled(*drawn(rng, 40, both, 3.0)) <= 0.01).all()


def test_pairs_are_compared_within_an_input():
    """What inputs share does not hide a difference within each."""
    rng = np.random.default_rng(1)
    shared = 100 * rng.normal(0, 1, (12, 1))
    first, there = shared - 1 + rng.normal(0, 0.1, (12, 1)), np.ones((12, 1), dtype=bool)
    assert relabelled(first, shared, there, there)[0] <= 0.005


def test_it_is_the_share_of_all_dealings():
    """Of eight pairs that all differ alike two of the 256 dealings are as far apart."""
    there = np.ones((8, 1), dtype=bool)
    p = relabelled(np.ones((8, 1)), np.zeros((8, 1)), there, there, resamples=19999)[0]
    assert p == pytest.approx(2 / 256, abs=0.002)


def test_an_empty_side_has_no_p_and_equal_values_have_one():
    there, nothing = np.ones((8, 2), dtype=bool), np.zeros((8, 2), dtype=bool)
    assert np.isnan(relabelled(np.ones((8, 2)), np.ones((8, 2)), there, nothing)).all()
    nothing[:, 1] = True
    p = relabelled(np.ones((8, 2)), np.ones((8, 2)), there, nothing)
    assert np.isnan(p[0])
    assert p[1] == 1.0
