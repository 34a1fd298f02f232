"""A view over what people really have: plain, LoRA-wrapped, offloaded, eager, half precision, in training mode."""

import peft
import pytest
import torch
from accelerate import cpu_offload
from tests.support.factories import FAMILIES, build
from tests.support.runs import cut, difference, encoded, job, outcomes, view_of
from transformers import CLIPConfig, LlamaConfig, LlamaForCausalLM

from chiasm.core.errors import ChiasmError
from chiasm.models.executors.guard import Guard
from chiasm.models.executors.lockstep import LockstepExecutor
from chiasm.models.executors.reference import ReferenceExecutor
from chiasm.models.view import ModelView


def work(view):
    found = encoded(view)
    return [job(found, cut(found, "image->question", 0, 2), cut(found, "question->last", 2, 4))]


def packed(view):
    return outcomes(LockstepExecutor(guard=Guard(enabled=False)), view, work(view))[0]


def plain(view):
    return outcomes(ReferenceExecutor(), view, work(view))[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_parts_are_the_models_own(family):
    view = view_of(family)
    assert list(view.layers) == list(view.model.get_decoder().layers)
    assert view.head is view.model.get_output_embeddings()
    assert (view.n_layers, view.width) == (4, 48)
    assert view.projector is None or any(m is view.projector for m in view.model.modules())
    assert all(m is not view.decoder for m in view.vision_tower.modules())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_lora_wrapped_model_works_and_its_adapter_counts(family):
    model, processor = build(family)
    bare = packed(ModelView(model, processor))
    adapted = peft.get_peft_model(model, peft.LoraConfig(target_modules=["q_proj", "v_proj"], r=4)).eval()
    with torch.no_grad():
        for name, p in adapted.named_parameters():
            if "lora_B" in name:
                p.normal_(0, 0.3)
    view = ModelView(adapted, processor)
    assert view.n_layers == 4
    assert difference(packed(view), plain(view)) < 1e-3
    assert difference(packed(view), bare) > 0.05


def test_an_offloaded_model_gives_the_same():
    expected = packed(view_of("llava"))
    model, processor = build("llava")
    view = ModelView(cpu_offload(model, execution_device="cpu"), processor)
    assert next(view.layers[0].parameters()).device.type == "meta"
    assert difference(packed(view), expected) < 1e-4
    assert difference(plain(view), expected) < 1e-4


def test_eager_attention_is_given_float_masks():
    model, processor = build("llava")
    model.set_attn_implementation("eager")
    view = ModelView(model, processor)
    assert difference(packed(view), plain(view)) < 1e-4
    assert difference(packed(view), packed(view_of("llava"))) < 1e-4


def test_half_precision_stays_within_the_guards_tolerance():
    model, processor = build("llava", dtype=torch.bfloat16)
    view = ModelView(model, processor).as_served()
    assert packed(view).full.dtype == torch.float32
    # These weights are an order of magnitude above real ones, and so is the rounding they amplify.
    assert difference(packed(view), plain(view)) < 1.5


def test_training_mode_is_left_for_the_run_and_restored():
    model, processor = build("llava")
    expected = packed(ModelView(model, processor))
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    model.model.language_model.layers[0].self_attn.attention_dropout = 0.5
    model.train()
    view = ModelView(model, processor)
    assert difference(packed(view), expected) == 0
    assert model.training


def test_a_model_without_a_family_is_refused_with_the_nearest_named():
    config = LlamaConfig(
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        vocab_size=8,
    )
    with pytest.raises(ChiasmError, match="nearest supported family is `llama4`"):
        ModelView(LlamaForCausalLM(config), None)
    assert CLIPConfig.model_type == "clip"


def test_the_lens_at_the_last_state_is_the_models_logits():
    from chiasm.models.executors.jobs import Job, Readout, StateReadout

    view = view_of("qwen2_5_vl")
    found = encoded(view)
    last = found.length - 1
    variants = (cut(found, "image->last", 0, 1),)
    outcome = outcomes(
        ReferenceExecutor(), view, [Job(found, variants, Readout(full=True), (StateReadout("last", (last,)),))]
    )[0]
    with torch.no_grad():
        own = torch.log_softmax(view.unembed(outcome.states["last"][-1]), -1)
        released = torch.log_softmax(view.unembed(outcome.states["last"][-1], normed=False), -1)
    assert float((own[0] - outcome.full[0, 0]).abs().max()) < 1e-5
    assert float((released[0] - outcome.full[0, 0]).abs().max()) > 0.1
