"""Checkpoints of listed families as they really vary: layer lists, kept class tokens, other towers, other templates."""

import numpy as np
import pytest
import torch
from tests.support.factories import build, enlarge, example
from tests.support.factories_projectors import clip_tower, llava_processor
from tests.support.float64 import no_upcasts
from tests.support.runs import cut, difference, job, outcomes
from tests.support.small import SIGLIP, SQUARE, text_config
from transformers import (
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    LlavaProcessor,
    SiglipImageProcessorPil,
    SiglipVisionConfig,
)

from chiasm.models.conformance import check
from chiasm.models.executors.guard import Guard
from chiasm.models.executors.lockstep import LockstepExecutor
from chiasm.models.executors.reference import ReferenceExecutor
from chiasm.models.view import ModelView


def made(model_class, config, processor):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = model_class(config)
        enlarge(model)
    model = model.double().eval()
    model.set_attn_implementation("sdpa")
    return ModelView(model, processor, "varied")


def llava(vision, processor, **options):
    text = LlamaConfig(**text_config(processor, 4))
    given = {"image_token_id": processor.image_token_id, "image_seq_length": 16} | options
    return made(LlavaForConditionalGeneration, LlavaConfig(vision_config=vision, text_config=text, **given), processor)


def granite_vision():
    """LLaVA-NeXT as Granite Vision has it: SigLIP, states of several tower layers side by side, all of their tokens."""
    model, processor = build("llava_next", layers=4)
    processor.image_processor = type(processor.image_processor)(
        size=SQUARE, crop_size=SQUARE, image_grid_pinpoints=model.config.image_grid_pinpoints, do_center_crop=False
    )
    processor.vision_feature_select_strategy, processor.num_additional_image_tokens = "full", 0
    config = LlavaNextConfig(
        vision_config=SiglipVisionConfig(**SIGLIP | {"num_hidden_layers": 3}),
        text_config=model.config.text_config,
        image_token_id=processor.image_token_id,
        image_grid_pinpoints=model.config.image_grid_pinpoints,
        vision_feature_layer=[-3, -2, -1],
        vision_feature_select_strategy="full",
        image_seq_length=16,
    )
    return made(LlavaNextForConditionalGeneration, config, processor)


def several_layers_of_clip():
    processor = llava_processor()
    processor.vision_feature_select_strategy = "full"
    kept = {"vision_feature_layer": [1, -2], "vision_feature_select_strategy": "full", "image_seq_length": 17}
    return llava(clip_tower(), processor, **kept)


def siglip():
    processor = llava_processor()
    processor.image_processor = SiglipImageProcessorPil(size=SQUARE)
    processor.vision_feature_select_strategy, processor.num_additional_image_tokens = "full", 0
    return llava(
        SiglipVisionConfig(**SIGLIP), processor, vision_feature_select_strategy="full", vision_feature_layer=-1
    )


def right_padding():
    processor = llava_processor()
    processor.tokenizer.padding_side = "right"
    return llava(clip_tower(), processor)


def template_with_start():
    processor = llava_processor()
    processor.chat_template = "<s>" + processor.chat_template
    return llava(clip_tower(), processor)


VARIED = (granite_vision, several_layers_of_clip, siglip, right_padding, template_with_start)


@pytest.mark.parametrize(
    "make", [pytest.param(one, marks=pytest.mark.heavy) if one in (siglip, granite_vision) else one for one in VARIED]
)
def test_every_law_holds(make):
    view = make()
    with no_upcasts(torch.float64):
        broken = [f"{law.name}: {law.reason}" for law in check(view) if law.ok is False]
    assert not broken


@pytest.mark.parametrize("make", VARIED)
def test_both_executors_agree(make):
    view = make()
    with no_upcasts(torch.float64):
        found = view.encode(example("llava"))
        jobs = [job(found, *(cut(found, "image.object->question", a, a + 2) for a in (0, 2)))]
        packed = outcomes(LockstepExecutor(guard=Guard(enabled=False)), view, jobs)[0]
        plain = outcomes(ReferenceExecutor(), view, jobs)[0]
    assert difference(packed, plain) <= 1e-9
    assert float((plain.full[1:] - plain.full[0]).abs().max()) > 0.01


def test_the_start_of_a_text_is_written_once():
    """A template that writes it itself and one that leaves it to the tokenizer make the same tokens."""
    one, other = template_with_start(), llava(clip_tower(), llava_processor())
    written, added = one.encode(example("llava")), other.encode(example("llava"))
    assert written.input_ids.tolist() == added.input_ids.tolist()
    assert (written.input_ids == one.tokenizer.bos_token_id).sum() == 1
    assert all(
        np.array_equal(written.spans[name], added.spans[name]) for name in ("prefix", "image", "question", "last")
    )


class Starting(LlavaProcessor):
    """A processor that writes the first token itself, as Molmo2's does."""

    def __call__(self, images=None, text=None, **options):
        start = self.tokenizer.bos_token
        text = [one if one.startswith(start) else start + one for one in text]
        return super().__call__(images=images, text=text, **options | {"add_special_tokens": False})


@pytest.mark.parametrize("images", [0, 1, 2])
def test_a_processor_may_write_the_start_of_a_text(images):
    plain = llava_processor()
    parts = {"image_processor": plain.image_processor, "tokenizer": plain.tokenizer, "patch_size": plain.patch_size}
    own = Starting(
        **parts,
        vision_feature_select_strategy=plain.vision_feature_select_strategy,
        num_additional_image_tokens=plain.num_additional_image_tokens,
        chat_template=plain.chat_template,
    )
    one, other = llava(clip_tower(), own), llava(clip_tower(), plain)
    shown = example("llava", images=images)
    written, added = one.encode(shown, answer="red"), other.encode(shown, answer="red")
    assert written.input_ids.tolist() == added.input_ids.tolist()
    assert {name: list(places) for name, places in written.spans.items()} == {
        name: list(places) for name, places in added.spans.items()
    }
    asked = one.tokenizer.decode(written.input_ids[0, written.spans["question"]])
    assert asked.strip() == shown.question


def test_padding_goes_left_whatever_the_tokenizer_says():
    one, other = right_padding(), llava(clip_tower(), llava_processor())
    batches = [v.collate([v.encode(example("llava", seed=seed)) for seed in range(3)]) for v in (one, other)]
    assert batches[0][1] == batches[1][1]
    assert torch.equal(batches[0][0]["input_ids"], batches[1][0]["input_ids"])


def test_parameters_behind_the_deepest_layer_of_a_list_are_not_read():
    view = several_layers_of_clip()
    layers = next(m for m in view.vision_tower.modules() if isinstance(m, torch.nn.ModuleList))
    unread = view.unread_tower_parameters()
    # Hidden states 1 and 2 of three layers: the third layer's output is never taken.
    assert {id(p) for p in layers[2].parameters()} <= unread
    assert not {id(p) for p in layers[1].parameters()} & unread


def test_qwen_keeps_to_the_pixels_that_its_size_names():
    model, processor = build("qwen2_vl")
    processor.image_processor.size = {"shortest_edge": 28 * 28 * 4, "longest_edge": 28 * 28 * 9}
    view = ModelView(model, processor, "qwen")
    layout = view.encode(example("qwen2_vl", size=(600, 300))).layouts[0]
    assert 4 <= len(layout.positions) <= 9
    assert np.allclose([layout.rects[:, :2].min(), *layout.rects[:, 2:].max(axis=0)], [0, 600, 300])
