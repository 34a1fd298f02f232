"""The decoder alone gives what the whole model gives, for every family and every vector put in."""

import numpy as np
import pytest
import torch
from tests.support.factories import FAMILIES, build, example

import chiasm
from chiasm.core.errors import ChiasmError, EmptySpanError, GuardError
from chiasm.models.inside.rerun import (
    Rerun,
    frozen_model,
    projected_positions,
    projected_states,
    require_gradients,
)
from chiasm.models.likelihood import answer_logprobs


def view_of(family="llava", **options):
    model, processor = build(family, **options)
    return chiasm.load(model=model, processor=processor)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_clean_run_is_the_models_own(family):
    view = view_of(family)
    forced = view.encode(example(family), answer="red square")
    rerun = Rerun(view, view.encode(example(family)), forced.answer_tokens)
    with torch.no_grad():
        found = rerun(rerun.states[None].expand(3, -1, -1))
    assert len(forced.answer_tokens) > 1
    assert found.tolist() == pytest.approx([float(answer_logprobs(view, [forced])[0].sum())] * 3, abs=1e-3)
    assert torch.equal(rerun.states, projected_states(view, view.encode(example(family))))


def test_other_vectors_are_what_the_projector_would_have_given():
    view = view_of()
    forced = view.encode(example(), answer="red square")
    rerun = Rerun(view, view.encode(example()), forced.answer_tokens)
    other = torch.randn(rerun.states.shape, generator=torch.Generator().manual_seed(0))
    handle = view.projector.register_forward_hook(lambda *_: other[None])
    try:
        expected = float(answer_logprobs(view, [forced])[0].sum())
    finally:
        handle.remove()
    with torch.no_grad():
        assert float(rerun(other[None])[0]) == pytest.approx(expected, abs=1e-3)
        assert abs(float(rerun(rerun.states[None])[0]) - expected) > 0.1


def test_the_contrast_is_the_distance_to_the_best_other_first_token():
    view = view_of()
    prompt = view.encode(example())
    with torch.no_grad():
        logits = view.model(**prompt.inputs).logits[0, -1]
        best = int(logits.argmax())
        second = logits.clone()
        second[best] = -torch.inf
        rerun = Rerun(view, prompt, (best,), target="contrast")
        assert float(rerun(rerun.states[None])[0]) == pytest.approx(float(logits[best] - second.max()), abs=1e-3)
        assert float(rerun.logprob(rerun.states[None])[0]) == pytest.approx(
            float(logits.log_softmax(-1)[best]), abs=1e-3
        )


def test_gradients_reach_the_vectors_and_nothing_else_and_all_is_put_back():
    view = view_of()
    view.model.requires_grad_(True)
    view.model.get_parameter("lm_head.weight").requires_grad_(False)
    view.model.train()
    before = {name: p.requires_grad for name, p in view.model.named_parameters()}
    rerun = Rerun(view, view.encode(example()), (5, 6))
    states = rerun.states[None].clone().requires_grad_(True)
    with frozen_model(view):
        rerun(states).sum().backward()
    assert float(states.grad.abs().sum()) > 0
    assert all(p.grad is None for p in view.model.parameters())
    assert {name: p.requires_grad for name, p in view.model.named_parameters()} == before
    assert view.model.training


def test_separators_are_not_the_projectors():
    view = view_of("llava_next")
    prompt = view.encode(example(size=(60, 40)))
    assert len(prompt.spans["image.newline"])
    assert not set(projected_positions(prompt)) & set(prompt.spans["image.newline"])
    with pytest.raises(EmptySpanError):
        projected_positions(view.encode(example(images=0)))


def test_a_model_whose_decoder_gets_more_than_its_embeddings_is_refused():
    view = view_of()

    def more(module, args, output):
        output.last_hidden_state = output.last_hidden_state.flip(-1)
        return output

    handle = view.model.model.language_model.register_forward_hook(more)
    try:
        with pytest.raises(GuardError, match="plain forward differs"):
            Rerun(view, view.encode(example()), (5,))
    finally:
        handle.remove()


def test_models_without_gradients_are_refused():
    view = view_of()
    view.model.config.quantization_config = {"quant_method": "bitsandbytes"}
    with pytest.raises(ChiasmError, match="quantised"):
        require_gradients(view)
    del view.model.config.quantization_config
    require_gradients(view)
    weight = view.model.get_parameter("lm_head.weight")
    view.model.lm_head.weight = torch.nn.Parameter(torch.zeros(weight.shape, dtype=torch.int8), requires_grad=False)
    with pytest.raises(ChiasmError, match="no floating-point"):
        require_gradients(view)
    view.model.lm_head.weight = torch.nn.Parameter(torch.empty(weight.shape, device="meta"))
    with pytest.raises(ChiasmError, match="offloaded"):
        require_gradients(view)


def test_half_precision_is_explained_in_single():
    view = view_of(dtype=torch.bfloat16)
    rerun = Rerun(view, view.encode(example()), (5, 6))
    assert rerun.states.dtype == torch.float32
    assert np.isfinite(float(rerun(rerun.states[None])[0].detach()))
