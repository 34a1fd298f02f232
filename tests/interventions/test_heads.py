"""Heads as they are typed: which are changed, together or one by one, and what is refused in words."""

import pytest

from chiasm.core.errors import ChiasmError
from chiasm.core.positions import Spans
from chiasm.interventions import (
    AttentionKnockout,
    BlockedAttention,
    Window,
    ZeroedHeads,
    head_sets,
    names_heads,
    of_each_head,
    parse_heads,
    parse_intervention,
)

SPANS = Spans(6, {"image": [1, 2, 3], "question": [4], "last": [5]})


def heads_of(text: str, heads: int = 8, groups: int = 2) -> list[tuple[int, ...]]:
    return [one.heads for one in head_sets(parse_heads(text), heads, groups)]


@pytest.mark.parametrize("form", ["image->last@heads={}", "zero:heads={}@last"])
def test_which_heads_are_changed_together(form):
    assert heads_of(form.format("all")) == [(head,) for head in range(8)]
    assert heads_of(form.format("3, 5")) == [(3,), (5,)]
    assert heads_of(form.format("groups")) == [(0, 1, 2, 3), (4, 5, 6, 7)]
    assert [str(one) for one in head_sets(parse_heads(form.format("groups")), 8, 2)] == ["0-3", "4-7"]


def test_edges_and_output_are_two_things():
    edges, output = parse_heads("image->question+last@heads=all"), parse_heads("zero:heads@question")
    assert (edges.kind, output.kind) == ("edges", "output")
    assert edges.on(SPANS, 3, (1,)) == BlockedAttention(Window(3, 4, 3), (4, 5), (1, 2, 3), (1,))
    assert output.on(SPANS, 3, (1, 2)) == ZeroedHeads(Window(3, 4, 3), (1, 2), (4,))
    assert edges.whole == parse_intervention("image->question+last")
    assert output.whole == parse_intervention("zero:attention@question")


def test_what_a_cut_stands_for_in_single_heads():
    knockout = AttentionKnockout.parse("image->last")
    assert [one.text for one in of_each_head(knockout)] == ["image->last@heads=all", "zero:heads@last"]
    assert of_each_head(parse_intervention("zero:mlp@last")) == ()
    assert of_each_head(parse_intervention("mean:image->last")) == ()


def test_other_cuts_name_no_heads():
    others = ("image->last", "mean:image->last", "zero:attention@last", "ablate:mean@image", "ablate:resample@last")
    assert not any(names_heads(text) for text in others)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("image->last@heads=", "neither `all`, `groups` nor numbers"),
        ("image->last@heads=two", "neither `all`, `groups` nor numbers"),
        ("image->last@heads=-1", "neither `all`, `groups` nor numbers"),
        ("zero:heads=3.5@last", "neither `all`, `groups` nor numbers"),
        ("image->last@heads=1,1", "named twice"),
        ("image->last@head=1", "SOURCE->TARGET@heads=WHICH"),
        ("mean:image->last@heads=all", "SOURCE->TARGET@heads=WHICH"),
        ("zero:heads", "zero:heads=WHICH@SPAN"),
        ("zero:headsall@last", "zero:heads=WHICH@SPAN"),
        ("image@heads=all", "SOURCE->TARGET"),
    ],
)
def test_what_is_not_of_the_form(text, found):
    with pytest.raises(ChiasmError, match=found):
        parse_heads(text)


def test_heads_that_are_not_there():
    with pytest.raises(ChiasmError, match="heads 0 to 7, and no head 8"):
        heads_of("image->last@heads=3,8")


def test_groups_where_every_head_has_keys_of_its_own():
    with pytest.raises(ChiasmError, match=r"no heads share any.*image->last@heads=all"):
        heads_of("image->last@heads=groups", groups=8)
