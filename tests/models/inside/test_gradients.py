"""The gradient's word is the first order of exact patches, in every site, layer and row."""

import numpy as np
import pytest
import torch
from tests.support.float64 import no_upcasts
from tests.support.runs import encoded, outcomes, view_of

from chiasm.core.errors import ChiasmError
from chiasm.interventions import Patch, Variant, Window
from chiasm.models.executors.jobs import Job, Readout, RecordedStates, StateReadout
from chiasm.models.executors.reference import ReferenceExecutor
from chiasm.models.inside.gradients import linear_effects

SITES = ("residual", "attention", "mlp")
STEP = 1e-5


def states_of(view, found):
    everywhere = tuple(range(found.length))
    reads = tuple(StateReadout(site, everywhere, site) for site in SITES)
    return outcomes(ReferenceExecutor(), view, [Job(found, (), states=reads)])[0].states


@pytest.mark.parametrize("family", ["llava", "qwen2_vl", "gemma3", "qwen3_vl", "lfm2_vl", "blip_2"])
def test_small_steps_do_what_the_gradient_says(family):
    """A patch with a state a little way towards another does that little part of the gradient's word, exactly."""
    view = view_of(family, torch.float64)
    with no_upcasts(torch.float64):
        own, other = encoded(view, seed=0), encoded(view, seed=4)
        count = min(own.length, other.length)
        rows = np.arange(count)
        theirs = {site: states[:, :count] for site, states in states_of(view, other).items()}
        mine = {site: states[:, :count] for site, states in states_of(view, own).items()}
        token = int(outcomes(ReferenceExecutor(), view, [Job(own, ())])[0].tokens[0])
        found = linear_effects(view, own, token, theirs, rows)
        # A little towards them, and as little away: what is of second order falls out.
        near = [
            RecordedStates({site: mine[site] + step * (theirs[site] - mine[site]) for site in SITES})
            for step in (STEP, -STEP)
        ]
        question, last = int(own.spans["question"][0]), count - 1
        variants, expected = [], []
        for site in SITES:
            for layer in range(view.n_layers):
                for row in (question, last):
                    for donor in (0, 1):
                        patch = Patch(Window(layer, layer + 1, layer), site, (row,), (row,), donor)
                        variants.append(Variant(f"{site} {layer} {row}", (patch,)))
                    expected.append(found[site][layer, row])
        job = Job(own, tuple(variants), Readout((own.length - 1,), (token,)), donors=tuple(near))
        [result] = outcomes(ReferenceExecutor(), view, [job])
        moved = (result.logprobs[::2, 0] - result.logprobs[1::2, 0]).double().numpy() / (2 * STEP)
    assert np.abs(expected).max() > 1e-3, "gradients must matter, or equality is empty"
    np.testing.assert_allclose(moved, expected, rtol=1e-4, atol=1e-6)


def test_equal_states_do_nothing_and_nothing_is_left_behind():
    view = view_of("llava", torch.float64)
    own = encoded(view)
    rows = np.arange(own.length)
    found = linear_effects(view, own, 3, states_of(view, own), rows)
    assert all(np.abs(values).max() <= 1e-9 for values in found.values())
    assert all(parameter.grad is None for parameter in view.model.parameters())
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in view.layers)


def test_quantised_models_are_refused(monkeypatch):
    view = view_of("llava")
    own = encoded(view)
    monkeypatch.setattr(view.config, "quantization_config", {"bits": 4}, raising=False)
    with pytest.raises(ChiasmError, match="its weights are quantised"):
        linear_effects(view, own, 3, {}, np.arange(own.length))
