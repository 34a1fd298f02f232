"""States and gradients behind concepts are those of the model."""

import pytest
import torch
from tests.support.factories import build, example

import chiasm
from chiasm.models.inside.concepts import mean_states, summed_gradients
from chiasm.models.inside.rerun import Rerun


def test_gradients_say_how_the_answer_changes_when_all_of_the_image_moves():
    model, processor = build("llava", dtype=torch.float64, layers=3)
    view = chiasm.load(model=model, processor=processor)
    prompt = view.encode(example())
    rerun = Rerun(view, prompt, (7, 8))
    gradients = summed_gradients(rerun)
    states = mean_states(view, prompt)
    assert gradients.shape == states.shape == (3, 48)
    assert torch.allclose(states[0], rerun.states.mean(0))
    direction = torch.randn(48, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for layer in range(3):

        def moved(step, layer=layer):
            def hook(module, args, kwargs):
                hidden = args[0].clone()
                hidden[:, rerun.rows] += step * direction
                return (hidden, *args[1:]), kwargs

            handle = view.layers[layer].register_forward_pre_hook(hook, with_kwargs=True)
            with torch.no_grad():
                value = float(rerun(rerun.states[None])[0])
            handle.remove()
            return value

        change = (moved(1e-3) - moved(-1e-3)) / 2e-3
        assert change == pytest.approx(float(gradients[layer] @ direction), rel=1e-2, abs=1e-3)
