"""Laws of masks and scores, without a model."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chiasm.core.errors import ChiasmError
from chiasm.models.pruning.masks import (
    dropped,
    keep,
    keep_all_but,
    keep_by,
    keep_n_of_m,
    keep_per_matrix,
    keep_per_row,
    kept_but,
    mean_scores,
    overlap,
    pack,
    random_scores,
    ranks,
    unpack,
    vote_scores,
    wanda_scores,
)

shapes = st.tuples(st.integers(1, 6), st.integers(2, 40))
shares = st.floats(0.01, 0.99)


def drawn(shape, seed=0, levels=None):
    scores = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return scores if levels is None else (scores * levels).floor()


@given(shapes, st.data(), st.sampled_from([None, 1, 2, 5]), st.integers(0, 99))
def test_masks_of_thresholds_are_those_of_ranks_whatever_is_equal(shape, data, levels, seed):
    counts = data.draw(st.lists(st.integers(0, shape[1]), max_size=4))
    scores = drawn(shape, seed, levels)
    expected = [ranks(scores) >= count for count in counts]
    assert all(torch.equal(a, b) for a, b in zip(kept_but(scores, counts), expected, strict=True))


@given(shapes, shares, st.integers(0, 99))
def test_rows_lose_their_lowest(shape, share, seed):
    scores = drawn(shape, seed)
    kept = keep_per_row(scores, share)
    count = dropped(shape[1], share)
    assert (~kept).sum(dim=1).tolist() == [count] * shape[0]
    for row, mask in zip(scores, kept):
        assert not count or count == len(row) or row[~mask].max() < row[mask].min()


@given(shapes, shares)
def test_ties_go_from_the_left(shape, share):
    kept = keep_per_row(torch.ones(shape), share)
    count = dropped(shape[1], share)
    assert not kept[:, :count].any()
    assert kept[:, count:].all()


@given(shapes, shares, st.integers(0, 99))
def test_a_matrix_loses_its_lowest(shape, share, seed):
    scores = drawn(shape, seed)
    kept = keep_per_matrix(scores, share)
    count = dropped(shape[0] * shape[1], share)
    assert int((~kept).sum()) == count
    assert not count or scores[~kept].max() < scores[kept].min()


@given(st.integers(1, 5), st.integers(1, 6), st.sampled_from([(1, 2), (2, 4), (1, 4), (4, 8)]), st.integers(0, 99))
def test_blocks_lose_their_lowest(rows, groups, pattern, seed):
    zeroed, block = pattern
    scores = drawn((rows, groups * block), seed, levels=3)
    kept = keep_n_of_m(scores, zeroed, block)
    for row, mask in zip(scores.tolist(), kept.tolist()):
        for start in range(0, len(row), block):
            lowest = sorted(range(start, start + block), key=lambda j: (row[j], j))[:zeroed]
            assert {j for j in range(start, start + block) if not mask[j]} == set(lowest)


@given(shapes, st.integers(0, 99))
def test_ranks_are_places_in_order(shape, seed):
    scores = drawn(shape, seed, levels=4)
    for row, places in zip(scores.tolist(), ranks(scores).tolist()):
        assert [places[j] for j in sorted(range(len(row)), key=lambda j: (row[j], j))] == list(range(len(row)))


@pytest.mark.parametrize("sparsity", [0, 1, -0.1, 1.5, math.nan])
def test_a_sparsity_that_is_none(sparsity):
    with pytest.raises(ChiasmError, match="Give a share between 0 and 1"):
        keep(torch.ones(2, 4), sparsity, "unstructured")


@pytest.mark.parametrize("pattern", ["4:2", "0:4", "4:4", "2-4", "half"])
def test_a_pattern_that_is_none(pattern):
    with pytest.raises(ChiasmError, match="N:M with 0 < N < M"):
        keep(torch.ones(2, 4), 0.5, pattern)


def test_floors_are_those_of_the_written_share():
    assert dropped(100, 0.29) == 29  # 28.999999999999996 in floating point
    assert dropped(10, 0.35) == 3


@given(shapes, st.integers(0, 99))
def test_packing_is_undone(shape, seed):
    mask = drawn(shape, seed) > 0.5
    bits = pack(mask)
    assert bits.dtype == torch.uint8
    assert len(bits) == -(-shape[0] * shape[1] // 8)
    assert torch.equal(unpack(bits, shape), mask)


@given(shapes, st.integers(2, 5), shares, st.integers(0, 99))
def test_votes_are_counted_at_a_common_sparsity(shape, calibrations, share, seed):
    """Whatever k weights a row keeps, they are those of some AND (majority, OR) of masks, plus at most its ties."""
    each = [drawn(shape, seed * 10 + k) for k in range(calibrations)]
    for votes in {1, calibrations // 2 + 1, calibrations}:
        kept = keep_per_row(vote_scores(each, votes), share)
        assert (~kept).sum(dim=1).tolist() == [dropped(shape[1], share)] * shape[0]
        for i in range(shape[0]):
            # The masks' sparsity falls; rows of the combination can only grow.
            nested = []
            for count in range(shape[1] + 1):
                masks = torch.stack([ranks(one)[i] >= count for one in each])
                nested.append(masks.sum(dim=0) >= votes)
            wanted = int(kept[i].sum())
            fits = [n for n in nested if int(n.sum()) <= wanted]
            over = [n for n in nested if int(n.sum()) >= wanted]
            assert bool((~fits[0] | kept[i]).all()), "the largest combination that fits is kept whole"
            assert bool((~kept[i] | over[-1]).all()), "and nothing outside the next one"


def test_equal_calibrations_combine_to_themselves():
    scores = drawn((5, 16), 1)
    own = keep_per_row(scores, 0.5)
    for combined in (vote_scores([scores] * 3, 3), vote_scores([scores] * 3, 2), mean_scores([scores] * 3)):
        assert torch.equal(keep_per_row(combined, 0.5), own)


def test_a_loud_calibration_does_not_decide_the_mean():
    quiet, loud = drawn((4, 20), 1), drawn((4, 20), 2)
    assert torch.equal(
        keep_per_row(mean_scores([quiet, loud]), 0.5), keep_per_row(mean_scores([quiet, loud * 1e6]), 0.5)
    )


def test_random_masks_depend_on_seed_and_name_alone():
    first = random_scores((6, 32), "0.mlp.up_proj", 0)
    assert torch.equal(first, random_scores((6, 32), "0.mlp.up_proj", 0))
    assert not torch.equal(first, random_scores((6, 32), "1.mlp.up_proj", 0))
    assert not torch.equal(first, random_scores((6, 32), "0.mlp.up_proj", 1))
    # Held for ever: other machines and later versions must draw the same.
    assert random_scores((1, 2), "0.mlp.up_proj", 0)[0].tolist() == pytest.approx([0.9270714, 0.4985984], abs=1e-6)


def test_independent_masks_overlap_as_chance_has_it():
    """k / (2 - k) for kept share k: the null that any overlap is to be compared with."""
    a, b = (keep_per_row(random_scores((400, 400), name, 0), 0.5) for name in "ab")
    assert overlap(a, b) == pytest.approx(1 / 3, abs=0.01)
    assert overlap(a, a) == 1


def test_scores_of_half_precision_are_computed_in_single():
    weight, norms = torch.full((1, 2), 3e-3, dtype=torch.float16), torch.tensor([1e-3, 1e6], dtype=torch.float64)
    scores = wanda_scores(weight, norms)
    assert scores.dtype == torch.float32
    assert scores.isfinite().all()
    assert scores[0, 0] > 0


def bisected(scores, sparsity):
    """The search for a common share as the released code of Wanda has it, to 0.001 of the sparsity."""
    ordered, order = scores.double().sort(dim=1, stable=True)
    sums, total = ordered.cumsum(dim=1), scores.double().sum(dim=1, keepdim=True)
    low, high = 0.0, 1.0
    for _ in range(60):
        alpha = (low + high) / 2
        zeroed = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, order, sums <= alpha * total)
        share = float(zeroed.double().mean())
        if abs(share - sparsity) <= 0.001:
            break
        low, high = (alpha, high) if share < sparsity else (low, alpha)
    return ~zeroed


def test_the_cumulative_variant_is_the_released_search():
    scores = torch.rand(48, 96, generator=torch.Generator().manual_seed(0)) ** 3
    kept = keep_by("wanda-cumulative", scores, 0.6, "unstructured")
    assert int((~kept).sum()) == int(0.6 * scores.numel())
    assert float((kept != bisected(scores, 0.6)).double().mean()) <= 0.001
    assert len({int(row.sum()) for row in kept}) > 1  # rows lose unequal numbers, unlike under Wanda


def test_all_but_a_few_of_the_chosen_are_kept():
    chosen = torch.rand(20, 30, generator=torch.Generator().manual_seed(0)) < 0.5
    kept = keep_all_but(chosen, 17, (0, 1))
    assert int((~kept).sum()) == 17
    assert bool(chosen[~kept].all())
    assert torch.equal(kept, keep_all_but(chosen, 17, (0, 1)))
    assert not torch.equal(kept, keep_all_but(chosen, 17, (1, 1)))
