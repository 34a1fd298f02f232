"""Mutual nearest neighbours and the modality gap: known answers, invariances, chance, one example of every input."""

import numpy as np
import pytest
import torch
from scipy.stats import special_ortho_group
from tests.support.runs import encoded, view_of
from tests.support.states import feed, hidden_states, rows_of

from chiasm.core.statistics.jackknife import GROUPS, group_jackknife, group_of
from chiasm.measures.geometry import Geometry
from chiasm.measures.neighbours import (
    ALIKE,
    common_without_each,
    in_common,
    neighbour_weights,
    shuffled_in_common,
    unit_distances,
)
from chiasm.measures.similarity import Similarity
from chiasm.models.observe import Batch, Segment, SiteStates

SPANS = ("image", "question")


def near(x, k):
    return neighbour_weights(unit_distances(x), k, alike=ALIKE)


def test_neighbours_are_those_of_a_plain_sort():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 30, 5))
    unit = [z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x, y)]
    sets = [[set(np.argsort(-(u @ u[i]), kind="stable")[1:5]) for i in range(30)] for u in unit]
    expected = [len(a & b) / 4 for a, b in zip(*sets, strict=True)]
    assert in_common(near(x, 4), near(y, 4)) == pytest.approx(expected)


def test_a_known_overlap_is_found():
    """Pairs of examples in one set are pairs in the other for two thirds of them, and nowhere else."""
    directions = np.eye(60)[:30]
    x = np.repeat(directions, 2, axis=0) + 0.01 * np.eye(60)
    order = np.arange(60)
    order[40:] = np.r_[40, np.roll(np.arange(41, 59), 1), 59]  # the last ten pairs are torn apart
    assert in_common(near(x, 1), near(x[order], 1)).mean() == pytest.approx(2 / 3)


def test_turning_and_scaling_change_nothing_and_shifting_does():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(80, 12))
    turned = rng.uniform(0.1, 9, size=(80, 1)) * (x @ special_ortho_group.rvs(12, random_state=0))
    assert in_common(near(x, 10), near(turned, 10)) == pytest.approx(np.ones(80))
    assert in_common(near(x, 10), near(x + 3, 10)).mean() < 0.9


def test_unrelated_sets_have_as_many_in_common_as_chance_gives():
    rng = np.random.default_rng(2)
    values = [in_common(near(rng.normal(size=(40, 6)), 5), near(rng.normal(size=(40, 6)), 5)).mean() for _ in range(80)]
    assert np.mean(values) == pytest.approx(5 / 39, abs=3 * np.std(values) / 80**0.5)
    x = rng.normal(size=(40, 6))
    shuffled = shuffled_in_common(near(x, 5), near(x, 5), 400)
    assert shuffled.mean() == pytest.approx(5 / 39, abs=4 * shuffled.std() / 20)
    assert in_common(near(x, 5), near(x, 5)).mean() == 1


def test_what_does_not_vary_has_chance_in_common_whatever_the_order():
    rng = np.random.default_rng(3)
    same = np.ones((20, 4)) * (1 + 1e-7 * rng.normal(size=(20, 1)))
    assert in_common(near(same, 5), near(same, 5)) == pytest.approx(np.full(20, 5 / 19))
    # Two kinds of equal vectors: of the nine alike, five are drawn.
    halves = np.repeat(np.eye(2), 10, axis=0)
    assert in_common(near(halves, 5), near(halves, 5)) == pytest.approx(np.full(20, 5 / 9))


@pytest.mark.parametrize("related", [0.0, 0.8])
def test_intervals_do_not_promise_too_much(related):
    """They hold in at least as many samples as they say; of 60 inputs they are nearly twice as wide as needed."""
    rng, found = np.random.default_rng(4), []
    for _ in range(60):
        z = rng.normal(size=(60, 6))
        x, y = (related * z + (1 - related**2) ** 0.5 * rng.normal(size=z.shape) for _ in range(2))
        groups = rng.integers(0, GROUPS, 60)
        beyond, chance = common_without_each(unit_distances(x), unit_distances(y), groups, 10)
        assert chance[0] == pytest.approx(10 / 59)
        e = group_jackknife(beyond, np.bincount(groups, minlength=GROUPS).astype(float))
        found.append((float(e.mean), float(e.low), float(e.high)))
    truth = np.mean([mean for mean, _, _ in found])
    assert (truth > 0.1) == (related > 0)
    assert np.mean([low <= truth <= high for _, low, high in found]) >= 0.93


def test_a_group_left_out_is_left_out_of_both_sets():
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(2, 30, 5))
    groups = np.arange(30) % 3
    beyond, chance = common_without_each(unit_distances(x), unit_distances(y), groups, 4)
    rest = groups != 1
    assert beyond[2] == pytest.approx(in_common(near(x[rest], 4), near(y[rest], 4)).mean() - 4 / 19)
    assert chance[2] == pytest.approx(4 / 19)
    assert beyond[4:] == pytest.approx(np.full(GROUPS - 3, beyond[0]))  # groups without an example


@pytest.fixture(scope="module")
def case():
    view = view_of("llava", torch.float64)
    items = [encoded(view, seed=seed) for seed in range(12)]
    return view, items, [hidden_states(view, item) for item in items]


def means_of(case, layer, span):
    _, items, states = case
    return np.stack([x[layer, i.spans[span]].mean(0) for x, i in zip(states, items, strict=True)])


def test_the_table_holds_what_plain_states_give(case):
    view, items, _ = case
    (measure,) = feed([Geometry(SPANS, (0, 3))], view, [items[:5], items[5:]])
    rows = {(r["layer"], r["quantity"]): r for r in rows_of(measure, "geometry") if "neighbours" in r["quantity"]}
    expected = in_common(*(near(means_of(case, 3, span), 3) for span in SPANS)).mean()
    assert rows[3, "neighbours"]["mean"] == pytest.approx(expected, abs=1e-6)
    assert rows[3, "neighbours_shuffled"]["mean"] == pytest.approx(3 / 11)
    assert rows[3, "neighbours_shuffled"]["low"] < 3 / 11 < rows[3, "neighbours_shuffled"]["high"]
    parts = [r for r in measure.tables()["parts"] if r["layer"] == 3 and r["quantity"] == "neighbours"]
    assert {r["part"] for r in parts} == {group_of(item.example_id) for item in items}
    assert parts[0]["value"] == pytest.approx(expected - 3 / 11, abs=1e-6)


def read(measure, layer, means, units):
    """Give a measure one token a span, the same at one layer, of as many examples as there are units."""
    names = tuple(f"e{k}" for k in range(len(units)))
    segments = tuple(
        Segment(k, span, 2 * k + s, 2 * k + s + 1) for k in range(len(units)) for s, span in enumerate(means)
    )
    batch = Batch(names, segments, np.arange(2 * len(units)), units=tuple(units))
    states = torch.from_numpy(np.stack([means[s.span][s.example] for s in segments]))
    measure.update(SiteStates(batch, layer, "residual", states))
    measure.end_batch(batch)


def test_questions_on_one_image_are_no_neighbours():
    """Twins in both spans would be each other's nearest; counted once, unrelated inputs have chance in common."""
    rng = np.random.default_rng(6)
    x, y = (np.repeat(rng.normal(size=(24, 6)), 2, axis=0) for _ in range(2))
    measure = Geometry(SPANS, (0,))
    read(measure, 0, {"image": x, "question": y}, [f"image {k // 2}" for k in range(48)])
    rows = {r["quantity"]: r for r in measure.tables()["geometry"]}
    assert rows["neighbours"]["n"] == 24
    assert rows["neighbours"]["mean"] == pytest.approx(in_common(near(x[::2], 6), near(y[::2], 6)).mean())
    assert in_common(near(x, 1), near(y, 1)).mean() == 1


def test_of_few_inputs_nothing_is_said():
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(2, 14, 6))
    measure = Geometry(SPANS, (0,))
    read(measure, 0, {"image": x, "question": y}, [f"image {k // 2}" for k in range(14)])
    assert not [r for r in measure.tables()["geometry"] if "neighbours" in r["quantity"]]
    assert "parts" not in measure.tables()


def gap_rows(x, y, units=None):
    measure = Similarity(SPANS, {}, inside=False)
    read(measure, 0, {"image": x, "question": y}, units or [f"image {k}" for k in range(len(x))])
    return {r["quantity"]: r for r in measure.tables()["geometry"] if r["against"]}


def test_a_known_gap_is_found():
    """Two clouds around directions at a right angle, each with as much around its mean as the mean is long."""
    rng = np.random.default_rng(8)
    noise = rng.normal(size=(2, 4000, 400)) / 20
    x, y = noise[0] + np.eye(400)[0], noise[1] + np.eye(400)[1]
    found = gap_rows(x, y)
    # Unit vectors of a mean of length 1 with noise of length 1: means of squared length 1/2, spread 1/2 each.
    assert found["gap"]["mean"] == pytest.approx(1.0, abs=0.02)
    assert found["gap_share"]["mean"] == pytest.approx((1 / 4) / (1 / 4 + 1 / 2), abs=0.01)
    assert found["gap"]["low"] < found["gap"]["mean"] < found["gap"]["high"]


def test_one_cloud_has_no_gap_however_few_examples():
    rng = np.random.default_rng(9)
    shares = [gap_rows(*(1 + rng.normal(size=(2, 20, 50))))["gap_share"] for _ in range(40)]
    values = np.array([one["mean"] for one in shares])
    assert abs(values.mean()) < 3 * values.std() / 40**0.5
    # The distance of the means themselves, noise and all, is far from 0.
    assert np.mean([one["low"] <= 0 <= one["high"] for one in shares]) >= 0.9


def test_the_gap_neither_turns_nor_scales():
    rng = np.random.default_rng(10)
    x, y = rng.normal(size=(2, 30, 12)) + np.array([[[1.0]], [[0.2]]])
    turn = special_ortho_group.rvs(12, random_state=1)
    one, two = gap_rows(x, y), gap_rows(5 * x @ turn, 0.1 * y @ turn)
    for name in ("gap", "gap_share"):
        assert two[name]["mean"] == pytest.approx(one[name]["mean"])


def test_what_does_not_vary_at_all_has_no_gap_to_share():
    assert not gap_rows(np.ones((20, 4)), np.ones((20, 4)))
    apart = gap_rows(np.tile([1.0, 0.0], (20, 1)), np.tile([0.0, 1.0], (20, 1)))
    assert apart["gap_share"]["mean"] == pytest.approx(1)
    assert apart["gap"]["mean"] == pytest.approx(2**0.5)
