"""Weights drawn anew: other weights of the same scale, the same for the same seed, the original untouched."""

import pytest
import torch

import chiasm
from chiasm.core.errors import ChiasmError
from chiasm.models.redraw import redrawn


def test_redrawn_weights_have_the_scale_of_a_new_model_and_follow_the_seed():
    view = chiasm.load("tiny-random")
    before = view.fingerprint()
    first, again, other = redrawn(view, 1), redrawn(view, 1), redrawn(view, 2)
    assert view.fingerprint() == before
    assert first.fingerprint() == again.fingerprint()
    assert len({before, first.fingerprint(), other.fingerprint()}) == 3
    for (name, drawn), old in zip(first.model.named_parameters(), view.model.parameters(), strict=True):
        if drawn.ndim > 1:
            assert not torch.equal(drawn, old), name
            assert 0.8 < float(drawn.detach().std() / old.detach().std()) < 1.25, name


def test_trained_weights_are_drawn_anew_too():
    view = chiasm.load("tiny")
    drawn = redrawn(view, 0)
    for (name, new), old in zip(drawn.model.named_parameters(), view.model.parameters(), strict=True):
        assert new.ndim == 1 or not torch.equal(new, old), name


def test_weights_that_are_not_in_memory_cannot_be_drawn():
    view = chiasm.load("tiny-random")
    view.model.lm_head.to("meta")
    with pytest.raises(ChiasmError, match="not all in memory"):
        redrawn(view, 0)
