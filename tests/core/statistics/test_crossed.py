"""Intervals over images and seeds: how often they hold the truth, what widens them, what chance is."""

import itertools

import numpy as np
import pytest

from chiasm.core.statistics.crossed import (
    Crossed,
    Family,
    difference_interval,
    family,
    guessing,
    macro_f1_difference,
    macro_f1_interval,
    macro_f1_parts,
    score_interval,
    share_parts,
    unpaired_interval,
)
from chiasm.core.statistics.intervals import proportion_interval


def drawn(rng, n, classes, level, seeds, seed_spread, per_input=1):
    """Labels, and answers of every seed: images differ in difficulty (deviation 1 of log-odds), and so may seeds."""
    truth = np.arange(n) % classes
    ease = np.repeat(rng.normal(0, 1, -(-n // per_input)), per_input)[:n]
    odds = level + ease[:, None] + rng.normal(0, seed_spread, seeds)
    right = rng.random((n, seeds)) < 1 / (1 + np.exp(-odds))
    wrong = (truth[:, None] + rng.integers(1, classes, (n, seeds))) % classes
    answers = np.where(right, truth[:, None], wrong)
    return [str(k) for k in truth], [[str(k) for k in run] for run in answers.T]


def coverage(n, classes, level, seeds, seed_spread, *, runs=300):
    """How often the interval of macro-F1 holds its expected value over new images and seeds."""
    rng = np.random.default_rng(0)
    found = [macro_f1_interval(*drawn(rng, n, classes, level, seeds, seed_spread)) for _ in range(runs)]
    truth = np.mean([one.mean for one in found])
    return np.mean([one.low <= truth <= one.high for one in found])


@pytest.mark.parametrize(("n", "classes"), [(12, 3), (24, 4), (40, 12), (60, 12), (100, 10)])
@pytest.mark.parametrize("level", [-4.0, -1.5, 0.0, 3.0])
def test_intervals_of_one_seed_hold_the_truth(n, classes, level):
    assert coverage(n, classes, level, 1, 0.0) >= 0.92  # 0.95 less two standard errors of 300 runs, and a little


@pytest.mark.parametrize(("n", "classes"), [(24, 4), (60, 12), (100, 10)])
@pytest.mark.parametrize(("seeds", "spread"), [(2, 0.5), (3, 0.0), (3, 0.5), (5, 0.5)])
def test_intervals_hold_the_truth_of_other_seeds(n, classes, seeds, spread):
    assert coverage(n, classes, -0.5, seeds, spread, runs=200) >= 0.91


def test_differences_of_nothing_are_seldom_found():
    rng, found = np.random.default_rng(1), []
    for _ in range(300):
        labels, one = drawn(rng, 60, 12, -0.5, 3, 0.3)
        _, other = drawn(rng, 60, 12, -0.5, 3, 0.3)
        gap = macro_f1_difference(labels, one, other)
        found.append(not gap.low <= 0 <= gap.high)
    assert np.mean(found) <= 0.075


@pytest.mark.parametrize("answer", ["a", None])
def test_all_right_and_all_wrong_have_wilsons_bounds(answer):
    labels = ["a"] * 20
    found = macro_f1_interval(labels, [[answer] * 20])
    wilson = proportion_interval(20 if answer else 0, 20)
    # By Student's quantile of 19 degrees of freedom, which is a little larger than the normal one.
    assert wilson.low - 0.02 <= float(found.low) <= wilson.low
    assert wilson.high <= float(found.high) <= wilson.high + 0.02


def test_several_seeds_alike_are_no_more_images():
    labels = list("ab") * 10
    one, three = (macro_f1_interval(labels, [[None] * 20] * k) for k in (1, 3))
    assert float(one.high) == pytest.approx(float(three.high))


def test_seeds_that_differ_widen_the_interval():
    labels = list("abcd") * 15
    rng = np.random.default_rng(0)

    def run(share):
        return [y if rng.random() < share else "d" for y in labels]

    alike = macro_f1_interval(labels, [run(0.5) for _ in range(3)])
    apart = macro_f1_interval(labels, [run(0.2), run(0.5), run(0.8)])
    assert float(apart.high - apart.low) > 2 * float(alike.high - alike.low)


def test_images_of_one_input_widen_the_interval():
    rng = np.random.default_rng(3)
    labels = [name for name in "abcd" * 5 for _ in range(5)]
    right = np.repeat(rng.random(20) < 0.5, 5)
    answers = [[y if ok else "d" for y, ok in zip(labels, right, strict=True)]]
    inputs = [str(k) for k in np.repeat(np.arange(20), 5)]
    plain, drawn_whole = macro_f1_interval(labels, answers), macro_f1_interval(labels, answers, inputs)
    assert float(drawn_whole.high - drawn_whole.low) > 1.7 * float(plain.high - plain.low)
    alone = score_interval(macro_f1_parts(labels, answers, ["one"] * 100))
    assert np.isnan([alone.low, alone.high, alone.p]).all()


def test_p_of_a_large_family_is_no_accident_of_rounding():
    """A score of 0 whose interval holds what it is compared with: p came out as 1e-30 in families of about 14."""
    labels = [str(i % 5) for i in range(60)]
    score = macro_f1_parts(labels, [[None] * 60])
    for comparisons in (1, 8, 14, 40, 1000):
        found = score_interval(score, 0.079, of=Family(comparisons))
        assert (found.p <= 0.05) == (found.high < 0.079)
        if comparisons >= 14:
            assert found.p > 0.05


@pytest.mark.parametrize("comparisons", [1, 6, 14, 100])
def test_interval_and_p_agree(comparisons):
    rng = np.random.default_rng(5)
    for level in np.linspace(-3, 0.5, 30):
        labels, answers = drawn(rng, 40, 4, level, 3, 0.3)
        score = macro_f1_parts(labels, answers)
        found = score_interval(score, 0.25, of=Family(comparisons))
        assert (found.p <= 0.05) == (not found.low <= 0.25 <= found.high)
        gap = difference_interval(score - macro_f1_parts(labels, [["0"] * 40] * 3), of=Family(comparisons))
        assert (gap.p <= 0.05) == (not gap.low <= 0 <= gap.high)


def test_a_share_is_what_it_is():
    right = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [1.0, 1.0]])
    assert share_parts(right).mean == pytest.approx(0.625)
    assert share_parts(right).parts.sum(axis=0) == pytest.approx([0, 0])


def test_no_difference_at_all_has_an_interval_still():
    labels = list("ab") * 6
    gap = macro_f1_difference(labels, [labels], [labels])
    assert float(gap.mean) == 0
    assert float(gap.high) == -float(gap.low) > 0.1


def test_guessing_is_what_all_guesses_give_on_average():
    labels = list("aab")

    def f1(answers):
        return macro_f1_parts(labels, [answers]).mean

    every = np.mean([f1(list(guess)) for guess in itertools.product("abc", repeat=3)])
    assert guessing([2, 1], 3) == pytest.approx(every)
    # The case that was found: one draw of twelve classes gave 0.167, of four 0.556.
    assert guessing([20] * 12, 12) == pytest.approx(1 / 12, abs=2e-3)
    assert guessing([60] * 4, 4) == pytest.approx(0.25, abs=1e-3)
    with pytest.raises(ValueError, match="images of 1 classes"):
        guessing([3, 3], 1)


@pytest.mark.parametrize("spreads", [[0.05] * 6, [0.01] * 5 + [0.2], [0.0] * 6])
@pytest.mark.parametrize("seeds", [2, pytest.param(3, marks=pytest.mark.heavy)])
def test_a_family_seldom_finds_anything_in_nothing(spreads, seeds):
    rng, wrong = np.random.default_rng(0), []
    for _ in range(300):
        members = []
        for spread in spreads:
            parts = rng.normal(0, 0.2 / 60, (60, 1)) + rng.normal(0, 0.1 / 60, (60, seeds))
            moved = parts.sum(axis=0) + rng.normal(0, spread, seeds)
            members.append(Crossed(moved, parts - parts.mean(axis=0)))
        of = family(members)
        wrong.append(any(difference_interval(one, of=of).p <= 0.05 for one in members))
    assert np.mean(wrong) <= 0.075


def test_unpaired_scores_differ_where_they_are_far_apart():
    def share(k, n=60, seeds=2):
        return share_parts(np.repeat((np.arange(n) < k).astype(float)[:, None], seeds, axis=1))

    far, near = unpaired_interval(share(30), share(59)), unpaired_interval(share(57), share(59))
    assert far.high < 0
    assert far.p < 0.001
    assert near.low < 0 < near.high
    assert near.p > 0.05
    assert unpaired_interval(share(59), share(59)).p == 1
