"""Pointing, areas, planted domain neurons, planted concepts; and what each says where nothing was planted."""

import numpy as np
import pytest

from chiasm.measures.concepts import directions, sensitivity
from chiasm.measures.neurons import as_specific, domain_specific, matched, rates_of, strongest
from chiasm.studies.inside.attribution import energy


def test_energy_counts_what_speaks_for_the_answer():
    tokens, inside = np.array([3.0, 1.0, -5.0, 0.0]), np.array([True, False, True, False])
    assert energy(tokens, inside) == pytest.approx(0.75)
    assert energy(-np.ones(4), inside) is None


def planted(rng, specific):
    """Activity of 40 pictures of two domains (10 tokens each); `specific` neurons are active in the second alone."""
    rates = np.broadcast_to(rng.uniform(0.05, 0.6, (3, 50)), (40, 3, 50)).copy()
    owner = np.repeat([0, 1], 20)
    for layer, neuron in specific:
        rates[owner == 0, layer, neuron], rates[owner == 1, layer, neuron] = 0.0, 0.95
    return rng.binomial(10, rates), np.full(40, 10), owner


def test_neurons_of_one_domain_are_found_and_not_where_domains_are_shuffled():
    rng = np.random.default_rng(0)
    specific = [(0, 3), (2, 41)]
    active, tokens, owner = planted(rng, specific)
    found = domain_specific(rates_of(active, tokens, owner), share=2 / 150)
    assert [tuple(place) for place in np.argwhere(found.chosen).tolist()] == specific
    assert not found.assigned[0].any()
    assert (found.assigned[1] == found.chosen).all()
    assert found.edge == pytest.approx(0, abs=1e-12)
    counts = [as_specific(active, tokens, rng.permutation(owner), found.edge) for _ in range(20)]
    assert max(counts) == 0
    assert as_specific(active, tokens, owner, found.edge) == 2


def test_where_all_neurons_are_as_active_none_is_specific():
    found = domain_specific(np.ones((2, 2, 5)))
    assert not found.chosen.any()
    assert not found.assigned.any()


def test_random_neurons_match_layers_and_leave_the_chosen_out():
    scores = np.random.default_rng(0).normal(size=(3, 20))
    marked = strongest(scores, 7)
    assert scores[marked].min() > scores[~marked].max()
    drawn = matched(marked, 5, seed=1)
    assert (drawn.sum(-1) == marked.sum(-1)).all()
    assert not (drawn & marked).any()
    assert len({draw.tobytes() for draw in drawn}) == 5


def world(rng, planted, used, others=80, along=4):
    """20 pictures with a concept that moves their states in layer 1 of 3, `others` without, and gradients."""
    states = rng.normal(size=(20 + others, 3, 30))
    states[:20, 1, along] += planted
    gradients = rng.normal(size=(25, 3, 30))
    gradients[:, 1, along] += used
    return states, np.arange(20 + others) < 20, gradients


def test_a_planted_concept_is_found_in_its_layer_and_nowhere_else():
    found = sensitivity(*world(np.random.default_rng(2), 4.0, 3.0), concepts=200)
    assert found.score[1] > 0.9
    assert found.low[1] > found.random_high[1]
    assert found.accuracy[1] > 0.9
    assert (found.p <= 0.05).tolist() == [False, True, False]
    assert found.accuracy[[0, 2]] == pytest.approx([0.5, 0.5], abs=0.15)
    against = sensitivity(*world(np.random.default_rng(2), 4.0, -3.0), concepts=200)
    assert against.score[1] < 0.1
    assert against.p[1] <= 0.05


def test_random_concepts_are_rarely_found_but_often_so_by_the_published_test():
    rng = np.random.default_rng(3)
    found = [sensitivity(*world(rng, 0.0, 0.0), draws=30, concepts=40, seed=k) for k in range(12)]
    assert sum(bool((f.p <= 0.05).any()) for f in found) <= 2
    assert sum(bool((f.published <= 0.05 / 3).any()) for f in found) >= 3


def test_a_concept_that_is_known_but_not_used_has_no_sensitivity():
    found = sensitivity(*world(np.random.default_rng(1), 4.0, 0.0), concepts=200)
    assert found.accuracy[1] > 0.9
    assert found.p[1] > 0.05


def test_the_direction_does_not_depend_on_scale():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, 10, 6)) + 1, rng.normal(size=(2, 12, 6))
    assert directions(a, b)[0] == pytest.approx(directions(100 * a, 100 * b)[0])
    assert np.linalg.norm(directions(a, b)[0], axis=1) == pytest.approx([1, 1])
    states, _, gradients = world(rng, 0.0, 0.0)
    with pytest.raises(ValueError, match="too few"):
        sensitivity(states, np.arange(100) < 3, gradients)
