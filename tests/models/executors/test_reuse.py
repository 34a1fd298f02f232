"""What perceives is computed once, and what the model writes into the result changes no later one."""

import pytest
import torch
from torch import nn
from transformers.modeling_outputs import BaseModelOutput

from chiasm.models.executors.reuse import encoded_once


class Tower(nn.Module):
    def __init__(self, form):
        super().__init__()
        self.form, self.calls = form, 0

    def forward(self, pixels):
        self.calls += 1
        return self.form(pixels * 2)


@pytest.mark.parametrize(
    ("form", "states"),
    [
        (lambda x: x, lambda out: out),
        (lambda x: (x, None), lambda out: out[0]),
        (lambda x: BaseModelOutput(last_hidden_state=x), lambda out: out.last_hidden_state),
        (lambda x: BaseModelOutput(hidden_states=(x, x + 1)), lambda out: out.hidden_states[0]),
    ],
)
def test_states_that_are_scaled_in_place_are_those_of_the_tower_the_next_time(form, states):
    tower, pixels = Tower(form), torch.ones(3)
    with encoded_once(tower):
        for _ in range(3):
            out = tower(pixels)
            assert torch.equal(states(out), torch.full((3,), 2.0))
            states(out).mul_(10)
        assert tower.calls == 1
        assert torch.equal(states(tower(pixels * 3)), torch.full((3,), 6.0))
    assert tower.calls == 2
    tower(pixels)
    assert tower.calls == 3
