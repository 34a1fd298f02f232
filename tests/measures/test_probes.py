"""Probes: the batched program against one probe at a time, what they can and cannot read, their controls."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from bench.probe_alone import train_alone
from hypothesis import given, settings
from hypothesis import strategies as st

from chiasm.core.errors import ChiasmError
from chiasm.measures.neighbours import neighbour_overlap
from chiasm.measures.probes.kinds import PROBES, probe_of
from chiasm.measures.probes.training import (
    FeatureSet,
    Labels,
    ProbeRun,
    grouped,
    information,
    probe_bytes,
    standardised,
    train_probes,
)

CLASSES = 3


def world(widths, counts=(30, 12, 20), noise=1.0, seed=0):
    """Feature sets whose classes lie around centres of their own, and their labels."""
    rng = np.random.default_rng(seed)
    y = [np.arange(n) % CLASSES for n in counts]
    feature_sets = []
    for width in widths:
        centres = rng.normal(size=(CLASSES, width))
        feature_sets.append(FeatureSet(*(centres[part] + noise * rng.normal(size=(len(part), width)) for part in y)))
    return feature_sets, Labels(*(torch.from_numpy(part) for part in y), CLASSES)


def small(name):
    probe = probe_of(name, 64)
    hidden = (7, 5) if probe.hidden else ()
    return replace(probe, hidden=hidden, batch=8, epochs=12, patience=min(probe.patience, 3), rate=0.02)


@pytest.mark.parametrize("name", PROBES)
def test_batched_training_is_that_of_one_probe_at_a_time(name):
    """Sets of three widths, seeds, shuffled labels, uneven numbers of probes per set: the same to 1e-9."""
    feature_sets, labels = world((5, 6, 6, 20), noise=2.0)
    runs = [ProbeRun(k, s) for k in range(4) for s in (0, 3)] + [
        ProbeRun(1, 0, True),
        ProbeRun(3, 3, True),
        ProbeRun(2, 1, True),
    ]
    probe = small(name)
    together = train_probes(probe, feature_sets, labels, runs, dtype=torch.float64)
    for run, found in zip(runs, together, strict=True):
        one = train_alone(
            probe, feature_sets[run.features], labels, run.seed, shuffle=run.shuffled, dtype=torch.float64
        )
        assert np.abs(one.logprobs - found.logprobs).max() < 1e-9
        assert one.epochs == found.epochs
    if probe.patience:
        # Otherwise nothing was packed anew, and the test would say less than it seems.
        assert len({found.epochs for found in together}) > 2


@given(memory=st.integers(1, 200_000), order=st.permutations(range(6)))
@settings(max_examples=8, deadline=None)
def test_neither_groups_nor_order_matter(memory, order):
    feature_sets, labels = world((4, 4, 9))
    runs = [ProbeRun(k, s) for k in range(3) for s in (0, 1)]
    probe = replace(small("linear"), epochs=4)
    whole = train_probes(probe, feature_sets, labels, runs, dtype=torch.float64)
    parts = train_probes(probe, feature_sets, labels, [runs[k] for k in order], memory=memory, dtype=torch.float64)
    for place, k in enumerate(order):
        assert np.allclose(parts[place].logprobs, whole[k].logprobs, atol=1e-10)


def test_groups_keep_to_the_memory():
    _, labels = world((4,))
    probe = small("mlp-paper")
    sizes = {0: (2, 4), 1: (2, 5), 2: (2, 40), 3: (1, 5), 4: (2, 5)}
    each = probe_bytes(probe, 2, 5, labels)
    groups = grouped(probe, sizes, labels, 2 * each)
    assert sorted(features for group in groups for features in group) == [0, 1, 2, 3, 4]
    assert all(len({sizes[c][0] for c in group}) == 1 for group in groups)
    assert all(
        sum(probe_bytes(probe, *sizes[c], labels) for c in group) <= 2 * each or len(group) == 1 for group in groups
    )
    assert [2] in groups


def test_a_line_reads_what_is_there_and_no_more():
    feature_sets, labels = world((16, 16), counts=(90, 30, 60), noise=0.7)
    noise = FeatureSet(*(np.random.default_rng(5).normal(size=part.shape) for part in feature_sets[1]))
    probe = replace(probe_of("linear", 16), epochs=60)
    runs = [ProbeRun(0, 0), ProbeRun(1, 0), ProbeRun(0, 0, True)]
    right = [
        (found.logprobs.argmax(1) == labels.test.numpy()).mean()
        for found in train_probes(probe, [feature_sets[0], noise], labels, runs)
    ]
    assert right[0] > 0.9
    assert right[1] < 0.6
    assert right[2] < 0.6


def test_a_constant_set_and_an_empty_validation_part_are_no_trouble():
    feature_sets, labels = world((5,))
    flat = FeatureSet(*(np.full_like(part, 3.0) for part in feature_sets[0]))
    bare = FeatureSet(feature_sets[0].train, np.empty((0, 0)), feature_sets[0].test)
    none = labels._replace(validation=labels.validation[:0])
    (found,) = train_probes(small("linear"), [flat], labels, [ProbeRun(0, 0)])
    assert np.allclose(found.logprobs, found.logprobs[0])
    (known,) = train_probes(small("linear"), [bare], none, [ProbeRun(0, 0)], dtype=torch.float64)
    assert np.allclose(
        known.logprobs, train_alone(small("linear"), bare, none, 0, dtype=torch.float64).logprobs, atol=1e-9
    )


def test_inputs_are_standardised_by_the_training_part_alone():
    feature_sets, _ = world((5,))
    shifted = feature_sets[0]._replace(test=feature_sets[0].test * 100)
    found, other = standardised(feature_sets[0], np.float64), standardised(shifted, np.float64)
    assert np.allclose(found.train.mean(0), 0)
    assert np.allclose(found.train.std(0), 1)
    assert np.array_equal(found.train, other.train)
    assert not np.allclose(found.test, other.test)


def test_the_published_sizes_are_those_at_the_published_width():
    paper, code = probe_of("mlp-paper", 4096), probe_of("mlp-code", 4096)
    assert paper.hidden == code.hidden == (2048, 1536, 1024, 512, 256)
    assert (paper.rate, paper.batch) == (1e-4, 128)
    assert (code.rate, code.batch, code.epochs, code.patience) == (1e-3, 32, 100, 0)
    assert paper.parameters(4096, 28) == pytest.approx(13.77e6, rel=1e-3)
    with pytest.raises(ChiasmError, match="linear"):
        probe_of("cube", 64)


def test_neighbours_of_the_same_set_stay_and_of_another_do_not():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 8))
    turned = x @ np.linalg.qr(rng.normal(size=(8, 8)))[0]
    assert neighbour_overlap(x, turned, 10).mean() == 1
    chance = neighbour_overlap(x, rng.normal(size=(200, 8)), 10).mean()
    assert abs(chance - 10 / 199) < 0.02


def test_information_is_none_for_frequencies_and_all_for_certainty():
    truth = np.array([0, 1, 2, 2])
    known = np.array([0, 1, 2, 2] * 25)
    frequency = np.log((np.bincount(known) + 1) / 103)
    assert abs(float(information(np.tile(frequency, (4, 1)), truth, known).mean)) < 1e-12
    sure = np.log(np.eye(3)[truth] * (1 - 3e-9) + 1e-9)
    assert abs(float(information(sure, truth, known).mean) + frequency[truth].mean()) < 1e-6
    wrong = np.log(np.eye(3)[(truth + 1) % 3] * (1 - 3e-9) + 1e-9)
    assert information(wrong, truth, known).mean < 0
