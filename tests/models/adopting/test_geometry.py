"""Places are those that paintings bear out: a crop is not taken for the whole, nor padding for the picture."""

from dataclasses import replace

import numpy as np
import pytest
from tests.support.factories_unlisted import vip_llava

from chiasm.models.adopting.adoption import found_inputs
from chiasm.models.adopting.decoder import followed
from chiasm.models.adopting.geometry import placed
from chiasm.models.adopting.inputs import Candidate
from chiasm.models.conformance.painting import MIN_SHARE, Painter, layout_of, patches_alone
from chiasm.models.conformance.trial import noise
from chiasm.models.generic.places import UNKNOWN


@pytest.fixture(scope="module")
def candidate():
    return Candidate(*vip_llava(), "vip", None)


@pytest.fixture(scope="module")
def rules(candidate):
    return followed(candidate, found_inputs(candidate))


def test_a_crop_is_found(candidate, rules):
    assert placed(candidate, rules).places == "a square grid over the resized and cropped image"


def test_a_crop_taken_for_the_whole_is_seen_at_the_edges(candidate, rules):
    """Both rules put the same tokens in the left half: only single places at the edges tell them apart."""
    image = noise("image", 0)
    wrong = candidate.view(replace(rules, places="a square grid over the stretched image"))
    right = candidate.view(replace(rules, places="a square grid over the resized and cropped image"))
    with patches_alone(right.towers):
        painter = Painter(right, image, 0)
        assert min(painter.shares(layout_of(wrong, image))) >= MIN_SHARE
        assert min(painter.own_shares(layout_of(wrong, image), tokens=16)) < MIN_SHARE
        assert min(painter.own_shares(layout_of(right, image), tokens=16)) == 1.0


def test_an_image_that_a_rule_does_not_fit_has_no_places(candidate, rules):
    view = candidate.view(replace(rules, places="the processor's grid over the stretched image"))
    layout = layout_of(view, noise("image", 0))
    assert not layout.has_places
    assert len(layout.positions) == 16


def test_no_rule_is_taken_of_a_tower_whose_tokens_are_shuffled(candidate, rules):
    """Tokens in an order that no rule knows: places are unknown, and not those of the rule that comes nearest."""
    order = np.random.default_rng(0).permutation(16)
    projector = candidate.model.model.multi_modal_projector
    handle = projector.register_forward_hook(lambda module, args, output: output[:, order])
    try:
        assert placed(candidate, rules).places == UNKNOWN
    finally:
        handle.remove()
