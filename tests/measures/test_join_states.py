"""Parts put together: spans of different models of one decoder, and what lies between them."""

import numpy as np
import pytest
import torch
from tests.support.runs import encoded, view_of
from tests.support.states import cosine, feed, hidden_states, pilot, rows_of

from chiasm.core.spans import cross_pairs, is_perceptual
from chiasm.measures.base import join_states, qualified_span
from chiasm.measures.geometry import Geometry
from chiasm.measures.overlap import Overlap, matrices_of
from chiasm.measures.similarity import Similarity
from chiasm.measures.vocabulary import Vocabulary

SPANS = ("image", "question")
ALL = tuple(qualified_span(s, p) for p in ("one", "llava-1.5") for s in SPANS)


@pytest.fixture(scope="module")
def case():
    view = view_of("llava", torch.float64)
    items = [encoded(view, seed=seed) for seed in range(10)]
    states = [hidden_states(view, item) for item in items]
    return view, (items[:6], items[6:]), (states[:6], states[6:])


def test_names():
    assert is_perceptual("image [llava-1.5]")
    assert is_perceptual("image.object+video [a]")
    assert cross_pairs(ALL) == [(p, t) for p in (ALL[0], ALL[2]) for t in (ALL[1], ALL[3])]


def test_similarity_crosses_parts(case):
    view, parts, states = case
    kept = []
    for name, items in zip(("one", "llava-1.5"), parts, strict=True):
        (measure,) = feed([Similarity(SPANS, pilot(view, [items], SPANS), inside=False)], view, [items])
        kept.append((name, measure.state()))
    whole = join_states(lambda: Similarity(ALL, {}, inside=False), kept)
    rows = {
        (r["a"], r["b"], r["paired"]): r
        for r in rows_of(whole, "similarity")
        if (r["layer"], r["mode"], r["variant"]) == (3, "avg", "raw")
    }
    assert "no_outliers" not in {r["variant"] for r in rows_of(whole, "similarity")}
    means = {
        qualified_span(s, p): [x[3, i.spans[s]].mean(0) for i, x in zip(items, found, strict=True)]
        for p, items, found in zip(("one", "llava-1.5"), parts, states, strict=True)
        for s in SPANS
    }
    for a, b in ((ALL[0], ALL[2]), (ALL[1], ALL[3]), (ALL[0], ALL[3])):
        expected = np.mean([[cosine(x, y) for y in means[b]] for x in means[a]])
        row = rows[a, b, False]
        assert row["mean"] == pytest.approx(expected, rel=1e-9)
        assert row["low"] < row["mean"] < row["high"]
        assert (a, b, True) not in rows
    own = np.mean([cosine(x, y) for x, y in zip(means[ALL[0]], means[ALL[1]], strict=True)])
    assert rows[ALL[0], ALL[1], True]["mean"] == pytest.approx(own, rel=1e-9)


def test_masks_and_maps_of_all_parts(case):
    view, parts, _ = case
    matrices = matrices_of(view.layers)
    masks, clouds = [], []
    for name, items in zip(("one", "llava-1.5"), parts, strict=True):
        overlap, geometry = feed([Overlap(SPANS, matrices), Geometry(SPANS, (0, 2))], view, [items])
        masks.append((name, overlap.state()))
        clouds.append((name, geometry.state()))
    rows = rows_of(join_states(lambda: Overlap(ALL, matrices), masks), "overlap")
    assert {(r["a"], r["b"]) for r in rows} == {(a, b) for k, a in enumerate(ALL) for b in ALL[k + 1 :]}
    same = [r for r in rows if (r["a"], r["b"]) == (ALL[0], ALL[2])]
    alien = [r for r in rows if (r["a"], r["b"]) == (ALL[0], ALL[1])]
    assert np.mean([r["iou"] for r in same]) > np.mean([r["iou"] for r in alien])
    places = rows_of(join_states(lambda: Geometry(ALL, (0, 2)), clouds), "map")
    assert {r["span"] for r in places} == set(ALL)
    assert len({r["example_id"] for r in places}) == 10


def test_one_example_read_by_two_parts_keeps_both(case):
    view, (items, _), _ = case
    states = [(name, feed([Geometry(SPANS, (0,))], view, [items])[0].state()) for name in ("one", "llava-1.5")]
    whole = join_states(lambda: Geometry(ALL, (0,)), states)
    assert {r["span"] for r in rows_of(whole, "geometry") if r["quantity"] == "effective_rank"} == set(ALL)


def test_divergences_follow_their_spans(case):
    view, (items, _), _ = case

    def words(spans):
        return Vocabulary(spans, (0, 2), lambda x: view.unembed(x).detach(), str)

    (measure,) = feed([words(SPANS)], view, [items])
    rows = rows_of(join_states(lambda: words(ALL[:2]), [("one", measure.state())]), "vocabulary")
    assert [r["mean"] for r in rows] == [r["mean"] for r in rows_of(measure, "vocabulary")]
    assert {r["against"] for r in rows if r["quantity"] == "js"} == {ALL[1], "state 2"}
