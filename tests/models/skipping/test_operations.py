from dataclasses import replace

import pytest
import torch
from tests.models.skipping.test_apply import KINDS, plan_of
from tests.support.factories import FAMILIES, build, example
from torch.utils.flop_counter import FlopCounterMode

from chiasm.interventions.published_skips import short_v, visual_ffn
from chiasm.models.frame import keep_logits
from chiasm.models.skipping.apply import skipping
from chiasm.models.skipping.operations import prefill_operations, vision_operations
from chiasm.models.view import ModelView


def counted(view: ModelView, inputs: dict) -> int:
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        view.model(**inputs, **keep_logits(view, slice_to=1))
    return counter.get_total_flops()


@pytest.fixture(params=FAMILIES, scope="module")
def view(request) -> ModelView:
    found = ModelView(*build(request.param))
    # Fused attention on the CPU is not seen by torch's counter.
    found.model.set_attn_implementation("eager")
    return found


@pytest.mark.parametrize("seeds", [(0,), (0, 3)])
def test_the_count_is_torchs_own(view: ModelView, seeds: tuple[int, ...]) -> None:
    inputs, _ = view.collate([view.encode(example(view.family.name, seed=s)) for s in seeds])
    plain = prefill_operations(view, inputs)
    assert plain.total == pytest.approx(counted(view, inputs), rel=0.01)
    for name, skip in KINDS.items():
        plan = plan_of(view, skip)
        with skipping(view, plan):
            expected = counted(view, inputs)
        operations = prefill_operations(view, inputs, plan)
        assert operations.total == pytest.approx(expected, rel=0.01), name
        # The part that the plan changes must fit as well: a large tower would hide a wrong count.
        saved, seen = plain.total - operations.total, counted(view, inputs) - expected
        if skip.part != "parallel":
            assert saved == pytest.approx(seen, rel=0.01, abs=1), name


@pytest.mark.parametrize("family", ["blip_2", "gemma3", "glm4v_moe", "llava_next_video", "qwen2_audio"])
def test_other_towers_and_experts_are_counted_as_well(family: str) -> None:
    view = ModelView(*build(family))
    # Torch's counter asks parameters that are passed on as states (BLIP-2) for gradients that they do not have.
    view.model.requires_grad_(False)
    inputs, _ = view.collate([view.encode(example(family, seed=s)) for s in (0, 3)])
    plain = prefill_operations(view, inputs)
    span = {"llava_next_video": "video", "qwen2_audio": "audio"}.get(family, "image")
    assert view.attention_implementation == "sdpa"
    view.model.set_attn_implementation("eager")
    clean = counted(view, inputs)
    assert plain.total == pytest.approx(clean, rel=0.01)
    assert plain.vision > 0
    for skip in (visual_ffn((1, 2), span=span), short_v((1, 2), span=span)):
        plan = plan_of(view, skip)
        with skipping(view, plan):
            seen = clean - counted(view, inputs)
        assert plain.total - prefill_operations(view, inputs, plan).total == pytest.approx(seen, rel=0.01)


def test_only_what_is_left_out_is_saved(view: ModelView) -> None:
    found = view.encode(example(view.family.name))
    image, length = len(found.spans["image"]), found.length
    plain = prefill_operations(view, found.inputs)
    without = prefill_operations(view, found.inputs, plan_of(view, visual_ffn((0, 1))))
    assert without.ffn * length * 4 == plain.ffn * (4 * length - 2 * image)
    assert replace(without, ffn=plain.ffn) == plain
    blocks = prefill_operations(view, found.inputs, plan_of(view, short_v((0, 1, 2, 3))))
    assert blocks.attention * length == plain.attention * (length - image)
    assert blocks.vision == plain.vision == vision_operations(view, found.inputs) > 0


def test_the_head_is_counted_by_the_rows_it_reads(view: ModelView) -> None:
    inputs = view.encode(example(view.family.name)).inputs
    one, three = (prefill_operations(view, inputs, logits=n).head for n in (1, 3))
    assert three == 3 * one == 3 * 2 * view.head.weight.numel()


def test_a_prompt_without_images_has_no_vision_operations(view: ModelView) -> None:
    inputs = view.encode(example(view.family.name, images=0)).inputs
    assert vision_operations(view, inputs) == 0
