"""What float32 breaks by rounding alone holds in float64, and a fault stays one."""

from unittest.mock import patch

import pytest
import torch
from tests.support.factories import build

from chiasm.models.adopting.rounded import unrounded
from chiasm.models.conformance import Law, agreement
from chiasm.models.executors.rounding import TOLERANCE
from chiasm.models.view import ModelView

PADDED = "two inputs in a padded batch"


@pytest.fixture
def view():
    return ModelView(*build("llava"))


def test_a_law_that_rounding_broke_is_taken_as_float64_has_it(view):
    before = {name: tensor.clone() for name, tensor in view.model.state_dict().items()}
    little = Law(PADDED, False, 2 * TOLERANCE[torch.float32], "differs by 0.0004")
    [found] = unrounded(view, [little])
    assert found.ok
    assert found.value < 1e-9
    after = view.model.state_dict()
    assert all(
        tensor.dtype == before[name].dtype and torch.equal(tensor, before[name]) for name, tensor in after.items()
    )


def test_a_fault_is_one_in_float64_too(view):
    little = Law(PADDED, False, 2 * TOLERANCE[torch.float32], "differs by 0.0004")
    with patch.object(agreement, "largest_difference", lambda *given: 0.001):
        assert unrounded(view, [little]) == [little]


@pytest.mark.parametrize(
    "law",
    [
        Law(PADDED, False, 1.0, "differs by 1"),
        Law(PADDED, False, None, "both prompts are as long"),
        Law(PADDED, None, None, "it takes one at a time"),
        Law(PADDED, True, 1e-5, ""),
    ],
)
def test_what_rounding_does_not_explain_is_not_tried_again(view, law):
    with patch.object(type(view.model), "double", side_effect=AssertionError):
        assert unrounded(view, [law]) == [law]


def test_half_precision_is_left_as_it_is():
    model, processor = build("llava")
    view = ModelView(model.bfloat16(), processor)
    little = Law(PADDED, False, 2 * TOLERANCE[torch.float32], "differs by 0.0004")
    assert unrounded(view, [little]) == [little]


def test_a_model_that_float64_breaks_is_given_back_in_float32(view):
    little = Law(PADDED, False, 2 * TOLERANCE[torch.float32], "differs by 0.0004")
    with patch("chiasm.models.adopting.rounded.check", side_effect=RuntimeError("no kernel for double")):
        assert unrounded(view, [little]) == [little]
    assert view.model.dtype == torch.float32
