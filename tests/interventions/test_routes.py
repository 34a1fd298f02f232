"""Routes that stay open while all others are closed: how they are typed, and which attention is then blocked."""

import numpy as np
import pytest

from chiasm.core.errors import ChiasmError, EmptySpanError
from chiasm.core.positions import Spans
from chiasm.interventions.routes import Route, all_but, pairs_of, require_routes

PARTS = {"prefix": [0, 1], "image": [2, 3], "between": [4, 7], "question": [5, 6], "suffix": [8], "last": [9]}
SPANS = Spans(10, {name: np.array(found) for name, found in PARTS.items()})
LAYERS = 4


def seen(kept, spans=SPANS, causal=True):
    """Which (source, target) pairs of spans are open, by layer, from the blocked positions alone."""
    hidden = np.zeros((LAYERS, spans.length, spans.length), dtype=bool)
    for change in all_but([Route.parse(text) for text in kept], spans, LAYERS, causal=causal):
        for layer in range(change.window.start, change.window.stop):
            hidden[layer][np.ix_(change.queries, change.keys)] = True
    mask = np.tril(np.ones((spans.length, spans.length), dtype=bool)) & ~hidden
    found = [set() for _ in range(LAYERS)]
    for layer in range(LAYERS):
        for target, rows in PARTS.items():
            for source, columns in PARTS.items():
                if source != target and mask[layer][np.ix_(rows, columns)].any():
                    found[layer].add((source, target))
    return found


def test_all_others_are_closed_in_every_layer_and_the_prefix_stays_open():
    to_all = {("prefix", target) for target in PARTS if target != "prefix"}
    assert seen([]) == [to_all] * LAYERS
    assert (
        seen(["image->question", "question->last"]) == [to_all | {("image", "question"), ("question", "last")}] * LAYERS
    )
    assert seen(["image->question+last"])[0] == to_all | {("image", "question"), ("image", "last")}


def test_a_route_may_be_open_in_some_layers():
    found = seen(["image->question@layers=1-2", "question->last@layers=3"])
    assert [("image", "question") in one for one in found] == [False, True, True, False]
    assert [("question", "last") in one for one in found] == [False, False, False, True]


def test_within_a_span_attention_stays():
    for change in all_but([], SPANS, LAYERS, causal=True):
        assert set(change.queries).isdisjoint(change.keys)
        assert not {0, 1} & set(change.keys)


def test_with_all_routes_kept_nothing_is_closed():
    routes = [Route(*pair) for pair in pairs_of(SPANS, causal=True)]
    assert len(routes) == 11
    assert all_but(routes, SPANS, LAYERS, causal=True) == ()
    assert len(pairs_of(SPANS, causal=False)) > len(routes)


def test_answer_tokens_are_read_with_the_last_position():
    spans = Spans(12, {name: np.array(found) for name, found in PARTS.items()} | {"answer": np.array([10, 11])})
    last = [change for change in all_but([], spans, LAYERS, causal=True) if 9 in change.queries]
    assert [change.queries for change in last] == [(9, 10, 11)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image", "not of the form SOURCE->TARGET"),
        ("image->question@heads=1", "not of the form SOURCE->TARGET"),
        ("image->question@layers=3-1", "layer 1 stands before layer 3"),
        ("imge->question", "no span `imge`.*image"),
        ("image.object->question", "is a part of a span"),
        ("last->last", "stands on both sides"),
        ("prefix->last", "never closed"),
    ],
)
def test_what_cannot_be_kept(text, said):
    with pytest.raises(ChiasmError, match=said):
        Route.parse(text)


def test_routes_that_an_example_or_a_model_has_not():
    with pytest.raises(EmptySpanError, match="span `video` is empty"):
        require_routes([Route.parse("video->last")], SPANS, causal=True)
    with pytest.raises(EmptySpanError, match="did you mean image->last"):
        require_routes([Route.parse("last->image")], SPANS, causal=True)
    require_routes([Route.parse("last->image")], SPANS, causal=False)
    with pytest.raises(ChiasmError, match="layers 0 to 3"):
        all_but([Route.parse("image->last@layers=2-4")], SPANS, LAYERS, causal=True)
