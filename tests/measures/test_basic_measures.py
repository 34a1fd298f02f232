"""Norms, drift and score equal plain float64 computations on transformers' own hidden states."""

import itertools

import numpy as np
import pytest
import torch
from tests.support.runs import encoded, view_of
from tests.support.states import cosine, feed, hidden_states, rows_of

from chiasm.measures.norms import Drift, Norms
from chiasm.measures.score import Score

SPANS = ("image", "question")


@pytest.fixture(scope="module", params=["llava", "qwen2_vl"])
def case(request):
    """A float64 view, five examples of different lengths, and their states by span: lists of (L + 1) x n x D."""
    view = view_of(request.param, torch.float64)
    items = [encoded(view, seed=seed) for seed in range(5)]
    assert len({item.length for item in items}) > 1
    whole = [hidden_states(view, item) for item in items]
    return view, items, {s: [x[:, item.spans[s]] for x, item in zip(whole, items, strict=True)] for s in SPANS}


def by(rows, *keys, **values):
    return {
        tuple(row[k] for k in keys): row for row in rows if all(row[name] == value for name, value in values.items())
    }


def test_norms(case):
    view, items, states = case
    (measure,) = feed([Norms()], view, [items[:3], items[3:]])
    found = by(rows_of(measure, "norms"), "span", "layer", "statistic")
    assert len(found) == 2 * 5 * 4
    for span, layer in itertools.product(SPANS, range(5)):
        norms = [np.linalg.norm(x[layer], axis=-1) for x in states[span]]
        for name, function in (("median", np.median), ("mean", np.mean), ("min", np.min), ("max", np.max)):
            values = np.array([function(n) for n in norms])
            row = found[span, layer, name]
            assert row["n"] == 5
            assert row["mean"] == pytest.approx(values.mean(), rel=1e-9)
            assert row["std"] == pytest.approx(values.std(ddof=1), rel=1e-6)


def test_drift_is_paired_by_token(case):
    view, items, states = case
    (measure,) = feed([Drift((1, 3))], view, [items[:2], items[2:]])
    found = by(rows_of(measure, "drift"), "span", "layer", "gap")
    assert len(found) == 2 * (4 + 2)
    for span, gap in itertools.product(SPANS, (1, 3)):
        for layer in range(5 - gap):
            values = [cosine(x[layer + gap], x[layer]).mean() for x in states[span]]
            row = found[span, layer, gap]
            assert row["mean"] == pytest.approx(np.mean(values), rel=1e-9)
            assert row["low"] < row["mean"] < row["high"]


def test_drift_as_released_averages_over_all_pairs_of_examples(case):
    view, items, states = case
    (measure,) = feed([Drift((1,), as_released=True)], view, [items])
    for row in rows_of(measure, "drift_released"):
        means = [x.mean(axis=1) for x in states[row["span"]]]
        later, now = row["layer"] + 1, row["layer"]
        pairs = [[cosine(a[later], b[now]) for b in means] for a in means]
        assert row["mean"] == pytest.approx(np.mean(pairs), rel=1e-9)
        assert row["paired"] == pytest.approx(np.mean(np.diag(pairs)), rel=1e-9)
        assert row["mean"] != pytest.approx(row["paired"], rel=1e-4)


def test_score(case):
    view, items, states = case
    (measure,) = feed([Score(SPANS)], view, [items[:1], items[1:]])
    found = by(rows_of(measure, "score"), "name", "statistic")
    assert len(found) == 6
    assert {(row["a"], row["b"], row["n"]) for row in found.values()} == {("image", "question", 5)}
    p, t = states["image"], states["question"]
    for name, at in (("ima_0", lambda x, layer: x[0]), ("ima_same", lambda x, layer: x[layer])):
        mean_pairs, medians = np.zeros((5, 5)), np.zeros(5)
        for layer in range(5):
            for i, j in itertools.product(range(5), range(5)):
                mean_pairs[i, j] += cosine(at(p[i], layer).mean(0), t[j][layer].mean(0)) / 5
            for i in range(5):
                a, b = at(p[i], layer), t[i][layer]
                medians[i] += np.median(cosine(a[:, None], b[None])) / 5
        assert found[name, "mean_token"]["value"] == pytest.approx(np.diag(mean_pairs).mean(), rel=1e-9)
        assert found[name, "mean_token_all_pairs"]["value"] == pytest.approx(mean_pairs.mean(), rel=1e-9)
        assert found[name, "median_token"]["value"] == pytest.approx(medians.mean(), rel=1e-9)
