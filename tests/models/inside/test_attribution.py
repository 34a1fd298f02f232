"""Attribution adds up, agrees with exact Shapley values, and orders tokens by what they do."""

import itertools
import math

import numpy as np
import pytest
import torch
from tests.support.factories import build, example

import chiasm
from chiasm.models.inside.attribution import (
    evaluate,
    gradient_shap,
    integrated_gradients,
    kernel_shap,
    ranked_scores,
    super_patches,
    two_players,
)
from chiasm.models.inside.rerun import Rerun


@pytest.fixture(scope="module")
def rerun():
    model, processor = build("llava", layers=2)
    view = chiasm.load(model=model, processor=processor)
    return Rerun(view, view.encode(example()), (7, 9))


@pytest.fixture(scope="module")
def base(rerun):
    return rerun.states.mean(0).expand_as(rerun.states)


def test_integrated_gradients_adds_up_and_raises_its_steps_until_it_does(rerun, base):
    found = integrated_gradients(rerun, base * 0.05, first_parts=1)
    assert found.complete
    assert found.steps > 8
    assert found.tokens.sum() == pytest.approx(found.value - found.base_value, rel=0.05)
    rough = integrated_gradients(rerun, base * 0.05, first_parts=1, max_steps=8)
    assert rough.steps == 8
    assert rough.error > 0.05
    assert not rough.complete


def test_what_does_not_move_gets_nothing(rerun, base):
    still = base.clone()
    still[:8] = rerun.states[:8]
    for found in (integrated_gradients(rerun, still), gradient_shap(rerun, torch.stack([still, still]))):
        assert np.abs(found.tokens[:8]).max() == 0
        assert np.abs(found.tokens[8:]).max() > 0


def test_gradient_shap_is_integrated_gradients_averaged_over_the_background(rerun, base):
    others = torch.stack([base, rerun.states.flip(0)])
    alone = [integrated_gradients(rerun, b) for b in others]
    found = gradient_shap(rerun, others, seed=1)
    expected = np.mean([one.tokens for one in alone], axis=0)
    assert found.tokens == pytest.approx(expected, abs=0.06 * np.abs(expected).max())
    assert found.base_value == pytest.approx(evaluate(rerun, others).mean(), abs=1e-4)


def test_gradient_shap_adds_up_to_the_answer_less_the_mean_over_the_images_it_starts_at(rerun, base):
    """Sum of the map = f(x) - E[f(start)]; one random point of 64 paths missed it by more than half."""
    draw = torch.Generator().manual_seed(0)
    others = rerun.states[None] * 0.5 + 0.5 * torch.randn(9, *rerun.states.shape, generator=draw) * rerun.states.std()
    found = gradient_shap(rerun, others, images=9)
    mean = float(evaluate(rerun, others).mean())
    assert found.complete
    assert found.base_value == pytest.approx(mean, abs=1e-5)
    assert found.tokens.sum() == pytest.approx(found.value - mean, rel=0.05)
    assert abs(found.tokens.sum() - (found.value - mean)) <= found.error * abs(found.value - mean) + 1e-6
    rough = gradient_shap(rerun, others * 40, images=9, first_parts=1, max_steps=72)
    assert rough.steps == 72
    assert not rough.complete
    assert gradient_shap(rerun, others, images=3, seed=2).steps < found.steps


def test_drawing_leaves_the_global_generators_alone(rerun, base):
    torch.manual_seed(3)
    np.random.seed(3)
    expected = torch.rand(1), np.random.rand()
    torch.manual_seed(3)
    np.random.seed(3)
    one = gradient_shap(rerun, torch.stack([base, base * 0.1]), images=1)
    assert (torch.rand(1), np.random.rand()) == expected
    again = gradient_shap(rerun, torch.stack([base, base * 0.1]), images=1)
    assert one.tokens.tolist() == again.tokens.tolist()


def test_kernel_shap_agrees_with_all_coalitions(rerun, base):
    features = np.arange(16) // 4
    values = {}
    for size in range(5):
        for kept in itertools.combinations(range(4), size):
            here = torch.from_numpy(np.isin(features, kept))[:, None]
            values[kept] = float(evaluate(rerun, torch.where(here, rerun.states, base)[None])[0])
    exact = np.zeros(4)
    for player in range(4):
        for kept in values:
            if player not in kept:
                weight = math.factorial(len(kept)) * math.factorial(3 - len(kept)) / math.factorial(4)
                exact[player] += weight * (values[tuple(sorted((*kept, player)))] - values[kept])
    found = kernel_shap(rerun, base, features, samples=1500, seed=0)
    summed = np.array([found.tokens[features == k].sum() for k in range(4)])
    assert summed == pytest.approx(exact, abs=0.06 * np.abs(exact).max())
    assert found.tokens.sum() == pytest.approx(found.value - found.base_value, rel=1e-2)
    assert np.ptp(found.tokens[:4]) == 0


def test_two_players_share_what_both_do(rerun, base):
    first = np.arange(16) < 5
    one, other = two_players(rerun, base, first)
    ends = evaluate(rerun, torch.stack([rerun.states, base]))
    assert one + other == pytest.approx(ends[0] - ends[1], abs=1e-4)
    kernel = kernel_shap(rerun, base, (~first).astype(int), samples=64)
    assert [kernel.tokens[first].sum(), kernel.tokens[~first].sum()] == pytest.approx([one, other], abs=0.02)
    assert two_players(rerun, base, ~first) == pytest.approx((other, one), abs=1e-5)


def test_curves_start_and_end_where_they_must_and_mirror(rerun, base):
    order = np.random.default_rng(0).permutation(16)
    found = ranked_scores(rerun, base, [order, order[::-1]], [0, 5, 16])
    clean, gone = evaluate(rerun, torch.stack([rerun.states, base]), rerun.logprob)
    assert found[:, 0, [0, 2]] == pytest.approx(np.array([[clean, gone]] * 2), abs=1e-5)
    assert found[:, 1, [0, 2]] == pytest.approx(np.array([[gone, clean]] * 2), abs=1e-5)
    kept = torch.ones(16, dtype=torch.bool)
    kept[order[:5]] = False
    assert found[0, 0, 1] == pytest.approx(evaluate(rerun, torch.where(kept[:, None], rerun.states, base)[None])[0])
    eleven = ranked_scores(rerun, base, [order], [11])[0, 0, 0]
    assert ranked_scores(rerun, base, [order[::-1]], [5])[0, 1, 0] == pytest.approx(eleven, abs=1e-5)


def test_super_patches_are_squares_of_the_picture():
    rects = np.array([[x, y, x + 10, y + 10] for y in range(0, 40, 10) for x in range(0, 40, 10)], dtype=float)
    found = super_patches(rects, 40, 40, side=2).reshape(4, 4)
    assert found.tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]
    assert super_patches(np.full((9, 4), np.nan), 40, 40, side=2).tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3]
