"""Similarities equal plain float64 loops over transformers' own hidden states."""

import itertools

import numpy as np
import pytest
import torch
from tests.support.float64 import no_upcasts
from tests.support.runs import encoded, view_of
from tests.support.states import cosine, feed, hidden_states, pilot, rows_of

from chiasm.core.statistics.jackknife import group_of
from chiasm.measures.centres import OUTLIER
from chiasm.measures.similarity import Similarity
from chiasm.measures.token_pairs import TokenPairs
from chiasm.models.hooks import find_blocks
from chiasm.models.observe import observe

SPANS = ("image", "question")


@pytest.fixture(scope="module")
def case():
    view = view_of("llava", torch.float64)
    items = [encoded(view, seed=seed) for seed in range(6)]
    whole = [hidden_states(view, item) for item in items]
    states = {s: [x[:, item.spans[s]] for x, item in zip(whole, items, strict=True)] for s in SPANS}
    return view, items, states, pilot(view, [items[:4], items[4:]], SPANS)


def varied(states, layer, variant):
    """The states of all spans and examples at one depth, changed as `variant` says."""
    here = {s: [x[layer] for x in states[s]] for s in SPANS}
    segments = [x for s in SPANS for x in here[s]]
    if variant == "raw":
        return here
    if variant == "centred":
        return {s: [x - np.mean([y.mean(0) for y in here[s]], axis=0) for x in here[s]] for s in SPANS}
    size = np.sqrt(np.mean([(x**2).mean(0) for x in segments], axis=0))
    keep = size <= OUTLIER * np.median(size)
    return {s: [x * keep for x in here[s]] for s in SPANS}


def matrix(a, b):
    return cosine(a[:, None], b[None])


def pairs_of(mode, xs, ys):
    function = {
        "avg": lambda a, b: cosine(a.mean(0), b.mean(0)),
        "mean": lambda a, b: matrix(a, b).mean(),
        "median": lambda a, b: np.median(matrix(a, b)),
        "max": lambda a, b: matrix(a, b).max(),
        "min": lambda a, b: matrix(a, b).min(),
        "max_mean": lambda a, b: matrix(a, b).max(1).mean(),
        "diagonal": lambda a, b: np.diag(matrix(a, b)).mean(),
    }[mode]
    return np.array([[function(a, b) for b in ys] for a in xs])


def check(rows, states, layers):
    """Every row equals the loop; returns what was checked."""
    done = set()
    for row in rows:
        if row["tap"] != "residual" or "half" in row["a"] or row["layer"] not in layers:
            continue
        here = varied(states, row["layer"], row["variant"])
        values = pairs_of(row["mode"], here[row["a"]], here[row["b"]])
        apart = ~np.eye(len(values), dtype=bool)
        expected = values[apart].mean() if not row["paired"] else np.diag(values).mean()
        assert row["mean"] == pytest.approx(expected, rel=1e-8, abs=1e-10), row
        assert row["n"] == len(values)
        done.add((row["a"], row["b"], row["mode"], row["variant"], row["paired"]))
    return done


def test_means_over_pairs_are_exact(case):
    view, items, states, centres = case
    (measure,) = feed([Similarity(SPANS, centres)], view, [items[:2], items[2:]])
    done = check(rows_of(measure, "similarity"), states, (0, 2, 4))
    kinds = set(itertools.product(("avg", "mean"), ("raw", "centred", "no_outliers")))
    assert {(m, v) for _, _, m, v, _ in done} == kinds
    alone = {(span, span, False) for span in SPANS}
    assert {(a, b, p) for a, b, _, _, p in done} == {("image", "question", True), ("image", "question", False)} | alone


def test_outlier_dimensions_exist_in_the_test(case):
    """Else `no_outliers` would equal `raw` and the test above would say nothing: so one is planted."""
    view, items, _, _ = case
    with torch.no_grad():
        norm = view.layers[1].mlp.down_proj.weight
        before = norm.clone()
        norm[7] *= 100
    try:
        states = [hidden_states(view, item) for item in items]
        cut = {s: [x[:, item.spans[s]] for x, item in zip(states, items, strict=True)] for s in SPANS}
        centres = pilot(view, [items], SPANS)
        assert not centres["residual", 2].keep[7]
        (measure,) = feed([Similarity(SPANS, centres, inside=False)], view, [items])
        rows = rows_of(measure, "similarity")
        check(rows, cut, (2,))
        by = {(r["mode"], r["variant"]): r["mean"] for r in rows if r["layer"] == 2 and r["paired"]}
        assert abs(by["avg", "raw"] - by["avg", "no_outliers"]) > 0.05
    finally:
        with torch.no_grad():
            norm.copy_(before)


def test_halves_are_the_papers_p_p(case):
    view, items, states, centres = case
    (measure,) = feed([Similarity(SPANS, centres, inside=False)], view, [items])
    first = [group_of(item.example_id) < 10 for item in items]
    assert 0 < sum(first) < len(items)
    rows = [r for r in rows_of(measure, "similarity") if r["a"] == "image [first half]"]
    assert {r["layer"] for r in rows} == set(range(5))
    for row in rows:
        here = varied(states, row["layer"], row["variant"])["image"]
        one = [x for x, f in zip(here, first, strict=True) if f]
        two = [x for x, f in zip(here, first, strict=True) if not f]
        assert row["mean"] == pytest.approx(pairs_of(row["mode"], one, two).mean(), rel=1e-8, abs=1e-10)


@pytest.mark.parametrize("token_pairs", [False, True])
def test_inside_the_block_all_taps_are_read(case, token_pairs):
    view, items, _, centres = case
    (measure,) = feed([Similarity(SPANS, centres, token_pairs=token_pairs)], view, [items])
    rows = [r for r in rows_of(measure, "similarity") if r["tap"] != "residual"]
    inside = ("norm1", "attention", "attention_added", "norm2", "gate_up", "down")
    modes = ("avg", "mean") if token_pairs else ("avg",)
    found = {(r["tap"], r["mode"], r["variant"]) for r in rows}
    assert found == set(itertools.product(inside, modes, ("raw", "centred", "no_outliers")))


def test_means_over_pairs_inside_the_block_are_exact(case):
    """At the attention's output, which a hook of its own reads."""
    view, items, _, centres = case
    (measure,) = feed([Similarity(SPANS, centres, token_pairs=True)], view, [items])
    read = []
    handle = view.layers[2].self_attn.register_forward_hook(lambda module, args, output: read.append(output[0][0]))
    with torch.no_grad(), no_upcasts(torch.float64):
        for item in items:
            view.model(**item.inputs)
    handle.remove()
    states = {s: [x.numpy()[i.spans[s]] for x, i in zip(read, items, strict=True)] for s in SPANS}
    whole = {s: [x[None] for x in xs] for s, xs in states.items()}
    rows = [r for r in rows_of(measure, "similarity") if r["tap"] == "attention" and r["layer"] == 2]
    done = check([r | {"tap": "residual", "layer": 0} for r in rows], whole, (0,))
    assert {(mode, paired) for _, _, mode, _, paired in done} == set(itertools.product(("avg", "mean"), (True, False)))


def test_questions_on_one_picture_are_pairs_except_between_halves(case):
    """Pairs of examples include them; halves never part them, so no picture is compared with itself there."""
    view, items, states, _ = case
    units = ["one picture"] * 3 + [f"picture {k}" for k in range(3)]
    measure, blocks = Similarity(SPANS, {}, inside=False), find_blocks(view, items[0])
    with no_upcasts(torch.float64):
        batch = observe(view, blocks, items, SPANS, measure.update, sites=measure.sites())
    batch.units = tuple(units)
    measure.end_batch(batch)
    rows = rows_of(measure, "similarity")
    check(rows, states, (0, 2))
    first = [group_of(unit) < 10 for unit in units]
    assert first[0] == first[1] == first[2]
    assert 0 < sum(first) < len(units)
    (row,) = [r for r in rows if r["a"] == "image [first half]" and r["layer"] == 2 and r["mode"] == "avg"]
    one, two = ([x[2] for x, f in zip(states["image"], first, strict=True) if f == h] for h in (True, False))
    assert row["mean"] == pytest.approx(pairs_of("avg", one, two).mean(), rel=1e-8)


def test_narrowness_is_the_cosine_to_the_mean_direction(case):
    view, items, states, centres = case
    (measure,) = feed([Similarity(SPANS, centres, inside=False)], view, [items])
    for row in [one for one in rows_of(measure, "geometry") if one["quantity"] == "narrowness"]:
        units = [x[row["layer"]] / np.linalg.norm(x[row["layer"]], axis=-1, keepdims=True) for x in states[row["span"]]]
        direction = np.mean([u.mean(0) for u in units], axis=0)
        expected = np.mean([cosine(u, direction[None]).mean() for u in units])
        assert row["mean"] == pytest.approx(expected, rel=1e-9)


def test_token_pairs(case):
    view, items, states, centres = case
    made = TokenPairs(SPANS, (0, 3), centres, examples=6, tokens=1000)
    (measure,) = feed([made], view, [items[:1], items[1:]])
    kept = [items[k].example_id for k in range(6)]
    assert set(measure.reservoir.kept) == set(kept)
    rows = rows_of(measure, "similarity")
    done = set()
    for row in rows:
        here = varied(states, row["layer"], row["variant"])
        values = pairs_of(row["mode"], here[row["a"]], here[row["b"]])
        off = values[~np.eye(6, dtype=bool)].mean()
        # The reservoir keeps float32.
        tolerance = 1e-9 if row["paired"] else 1e-5
        assert row["mean"] == pytest.approx(np.diag(values).mean() if row["paired"] else off, abs=tolerance), row
        done.add((row["mode"], row["paired"], row["variant"]))
    assert len(done) == 5 * 2 * 3


def test_a_smaller_reservoir_keeps_the_least_hashes_and_fewer_tokens(case):
    view, items, _, centres = case
    (measure,) = feed([TokenPairs(SPANS, (0,), centres, examples=3, tokens=4)], view, [items])
    assert measure.reservoir.names("residual/0/raw/image") == measure.reservoir.names("residual/0/centred/question")
    assert len(measure.reservoir.kept) == 3
    for arrays in measure.reservoir.kept.values():
        assert all(len(value) == 4 for value in arrays.values())


def test_without_spread_centred_cosines_are_zero_and_nothing_fails():
    """Dimensions, or whole spans, that never vary: a zero vector has the cosine 0 to everything."""
    view = view_of("llava", torch.float64)
    items = [encoded(view, seed=seed) for seed in range(3)]
    centres = pilot(view, [items], SPANS)
    constant = {key: c._replace(means={s: m * 0 + 2 for s, m in c.means.items()}) for key, c in centres.items()}
    made = [Similarity(SPANS, constant, inside=False), TokenPairs(SPANS, (0,), constant)]

    def listen(seen):
        if seen.layer == 0:
            for measure in made:
                measure.update(seen)

    batch = observe(view, find_blocks(view, items[0]), items, SPANS, listen, replace=lambda x, padding: x * 0 + 2)
    for measure in made:
        measure.end_batch(batch)
        rows = [r for r in rows_of(measure, "similarity") if r["layer"] == 0]
        assert {r["mean"] for r in rows if r["variant"] == "centred"} == {0.0}
        assert {round(r["mean"], 5) for r in rows if r["variant"] == "raw"} == {1.0}
