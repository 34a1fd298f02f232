"""Skips in decoders that keep their parts elsewhere: OPT's bare matrices, experts with two outputs, other mixers."""

import copy

import pytest
import torch
from tests.models.skipping.test_apply import LAYERS, plan_of
from tests.support.factories import build, example
from tests.support.float64 import no_upcasts
from tests.support.runs import view_of

from chiasm.core.errors import ChiasmError
from chiasm.interventions import Variant, Window, ZeroedBranch
from chiasm.interventions.published_skips import companion_layers, fast_v, visual_ffn
from chiasm.interventions.skips import Skip, SkipPart
from chiasm.models.executors.jobs import Job, Readout
from chiasm.models.executors.reference import ReferenceExecutor
from chiasm.models.pruning.linears import matrices
from chiasm.models.skipping.apply import apply, skipping
from chiasm.models.skipping.operations import prefill_operations
from chiasm.models.view import ModelView

BRANCHES = {"ffn": ("mlp",), "attention": ("attention",), "block": ("attention", "mlp")}


def zeroed_and_skipped(view: ModelView, part: SkipPart) -> tuple[float, float]:
    """How far a skip is from zeroed branches, and how far those move the answer."""
    found = view.encode(example(view.family.name))
    image = tuple(int(p) for p in found.spans["image"])
    changes = tuple(ZeroedBranch(Window(k, k + 1, k), name, image) for k in (1, 2) for name in BRANCHES[part])
    job = Job(found, (Variant("zero", changes),), Readout(positions=(found.length - 1,), full=True))
    [expected] = ReferenceExecutor().run(view, [job])
    assert expected.full is not None
    with skipping(view, plan_of(view, Skip(part=part, span="image", layers=(1, 2)))), torch.no_grad():
        got = view.model(**found.inputs).logits[0, -1].log_softmax(-1)
    return float((got - expected.full[1, 0]).abs().max()), float((expected.full[1] - expected.full[0]).abs().max())


@pytest.mark.parametrize(
    ("family", "part"),
    [(f, p) for f in ("blip_2", "instructblip") for p in BRANCHES] + [("llama4", "ffn"), ("lfm2_vl", "ffn")],
)
def test_a_skip_equals_zeroed_branches(family: str, part: SkipPart) -> None:
    gap, moved = zeroed_and_skipped(view_of(family), part)
    assert gap < 1e-5
    assert moved > 1e-2


@pytest.mark.parametrize("part", ["ffn", "block"])
def test_rows_enter_at_the_first_matrix_where_norms_stand_behind(part: SkipPart) -> None:
    model, processor = build("blip_2")
    config = copy.deepcopy(model.config)
    config.text_config.do_layer_norm_before = False
    torch.manual_seed(0)
    other = type(model)(config).eval()
    for parameter in other.parameters():
        torch.nn.init.normal_(parameter, std=0.3) if parameter.ndim > 1 else None
    gap, moved = zeroed_and_skipped(ModelView(other, processor, "norms behind"), part)
    assert gap < 1e-5
    assert moved > 1e-2


@pytest.mark.parametrize(
    "skip",
    [
        visual_ffn((1, 3)),
        fast_v(LAYERS),
        Skip(part="block", span="all", layers=companion_layers(LAYERS), phase="both"),
        Skip(part="parallel", span="all", layers=(1,), phase="both"),
    ],
    ids=["ffn", "fast-v", "blocks", "parallel"],
)
@pytest.mark.parametrize("family", ["blip_2", "instructblip"])
def test_a_model_that_generates_past_its_forward_skips_as_well(family: str, skip: Skip) -> None:
    view = ModelView(*build(family, dtype=torch.float64))
    found = [view.encode(example(family, seed=s)) for s in (0, 3)]
    options = {"max_new_tokens": 3, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    options |= {"output_logits": True, "return_dict_in_generate": True}
    with no_upcasts(torch.float64), torch.no_grad():
        plain = view.model.generate(**found[0].inputs, **options)
        with skipping(view, plan_of(view, skip)) as model:
            alone = [model.generate(**one.inputs, **options) for one in found]
            first = model(**found[0].inputs).logits[0, -1]
            inputs, padding = view.collate(found)
            assert max(padding) > 0
            together = model.generate(**inputs, **options)
        again = view.model.generate(**found[0].inputs, **options)
    assert (first - alone[0].logits[0][0]).abs().max() < 1e-9
    assert (first - plain.logits[0][0]).abs().max() > 1e-3
    for lane, one in enumerate(alone):
        for step in range(3):
            assert (together.logits[step][lane] - one.logits[step][0]).abs().max() < 1e-9, (lane, step)
    assert torch.equal(again.logits[0], plain.logits[0])


def test_a_refused_skip_leaves_nothing_behind() -> None:
    view = view_of("lfm2_vl")
    with pytest.raises(ChiasmError, match="norms around its branches"):
        apply(view, plan_of(view, Skip(part="parallel", span="all", layers=(1,), form="released")))
    assert not any("forward" in module.__dict__ for module in view.model.modules())
    assert not any(module._forward_pre_hooks for module in view.model.modules())
    with skipping(view, plan_of(view, visual_ffn((1,)))):
        pass


@pytest.mark.parametrize(("family", "reason"), [("mllama", "attend across to the image"), ("lfm2_vl", "conv")])
def test_what_is_no_self_attention_is_refused_with_its_reason(family: str, reason: str) -> None:
    view = view_of(family)
    with pytest.raises(ChiasmError, match=reason):
        apply(view, plan_of(view, Skip(part="attention", span="all", layers=(1,))))
    with pytest.raises(ChiasmError, match="token mixer is no self-attention"):
        prefill_operations(view, view.encode(example(family)).inputs)


def test_the_matrices_of_opt_are_parted_as_any_others() -> None:
    view = view_of("blip_2")
    names = {part: {m.name for m in matrices(view, part)} for part in ("all", "ffn", "attention")}
    assert names["ffn"] == {f"{k}.{name}" for k in range(LAYERS) for name in ("fc1", "fc2")}
    assert names["all"] == names["ffn"] | names["attention"]
    assert len(names["attention"]) == 4 * LAYERS


def test_a_model_with_two_ways_to_generate_skips_while_it_writes():
    """Janus overrides `generate`, yet words come out of its own forward."""
    view = view_of("janus")
    found = view.encode(example("janus"))
    skip = Skip(part="block", span="image", layers=(0, 1, 2))
    options = {"max_new_tokens": 2, "do_sample": False, "return_dict_in_generate": True, "output_logits": True}
    plain = view.model.generate(**found.inputs, **options).logits[0]
    with skipping(view, plan_of(view, skip)), torch.no_grad():
        prompt = view.model(**found.inputs).logits[:, -1]
        written = view.model.generate(**found.inputs, **options).logits[0]
    assert float((written - prompt).abs().max()) < 1e-4
    assert float((written - plain).abs().max()) > 1e-2
