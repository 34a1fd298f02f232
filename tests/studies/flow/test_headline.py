"""The headline of a flow run: what each route carries, and what is not known of it."""

from chiasm.core.claims import Claim
from chiasm.studies.flow.headline import flow_headline


def _effect(cut, layer, effect, verdict):
    bounds = {"low": effect - 0.05, "high": effect + 0.03}
    known = {"kind": "effect", "quantity": "change", "unit": "nat", "n": 90}
    return Claim(about=cut, where=str(layer), effect=effect, verdict=verdict, **known, **bounds)


def _claims(image_at, question_at, layers=6):
    found = []
    for cut, at in (("image->question", image_at), ("question->last", question_at), ("image->last", ())):
        for layer in range(layers):
            there = layer in at
            found.append(_effect(cut, layer, -1.0 if there else 0.0, "established" if there else "not established"))
    return found


def test_a_question_that_is_read_before_the_image_is_in_it_carries_nothing_of_it():
    before = flow_headline(_claims((1,), (0, 1)))
    assert "the question reaches the answer directly in layers 0 to 1, which is before anything of the image" in before
    after = flow_headline(_claims((1,), (0, 2)))
    assert "before anything" not in after
    # Around a middle layer three are cut: the window of layer 1 reaches to layer 2.
    assert "before anything" not in flow_headline(_claims((2,), (1,)), width=3)


def test_what_is_not_established_says_how_large_it_may_be():
    text = flow_headline(_claims((1,), (2,)))
    assert "whether anything goes from the image to the answer directly is not established (at most 0.05 nat" in text
