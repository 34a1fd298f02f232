"""How far two ways to one number may lie apart."""

import math

import pytest
import torch

from chiasm.models.executors.rounding import TOLERANCE, largest_difference


def apart(ours, plain):
    return largest_difference(torch.tensor(ours), torch.tensor(plain))


def test_probable_tokens_are_compared_as_they_are():
    assert apart([-1.0, -20.0], [-1.0003, -20.0]) == pytest.approx(3e-4, rel=1e-2)
    assert apart([-19.0], [-19.001]) == pytest.approx(1e-3, rel=1e-2)


def test_of_a_token_at_minus_250_rounding_is_as_much_larger():
    """In float32 one step there is 1.5e-5 nat, and logits of that size have been added up over a vocabulary."""
    assert apart([-248.0], [-248.0 + 2.1e-4]) < TOLERANCE[torch.float32] / 5
    assert apart([-248.0], [-248.0 + 0.1]) > TOLERANCE[torch.float32]


def test_what_is_no_number_is_never_close():
    assert math.isnan(apart([math.nan, -1.0], [-1.0, -1.0]))
    assert math.isnan(apart([-math.inf], [-math.inf]))
    assert apart([-math.inf], [-3.0]) == math.inf
