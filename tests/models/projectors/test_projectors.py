"""Projectors by name, their sizes, and checkpoints that hold another one than the architecture's own."""

import numpy as np
import pytest
import torch
from tests.support.factories import build, example

import chiasm
from chiasm.core.errors import ChiasmError
from chiasm.interventions.projectors import PROJECTOR_KINDS, ProjectorSpec, parse_projector, spec_of
from chiasm.models.likelihood import answer_logprobs
from chiasm.models.projectors.swap import build_projector, swap_projector

VARIANTS = {
    "orthogonal": 16,
    "linear": 16,
    "mlp:depth=3,width=20": 16,
    "residual:blocks=2": 16,
    "pool": 4,
    "perceiver:tokens=5,depth=2": 5,
    "qformer:tokens=3,depth=2": 3,
    "gated:tokens=7,depth=1": 7,
}


def swapped(text: str, seed: int = 0):
    model, processor = build("llava")
    return chiasm.load(model=model, processor=swap_projector(model, processor, parse_projector(text), seed=seed))


def test_every_kind_is_tried_here():
    assert {text.partition(":")[0] for text in VARIANTS} == set(PROJECTOR_KINDS)


@pytest.mark.parametrize(("text", "tokens"), VARIANTS.items())
def test_a_checkpoint_with_another_projector_opens_again_and_answers_alike(text, tokens, tmp_path):
    view = swapped(text)
    view.model.save_pretrained(tmp_path)
    view.processor.save_pretrained(tmp_path)
    again = chiasm.load(tmp_path)
    one = example(size=(50, 40))
    assert len(again.encode(one).spans["image"]) == tokens
    assert spec_of(again.config) == parse_projector(text)
    assert type(again.projector) is type(view.projector)
    shown = view.encode(one, answer="red")
    before, after = (answer_logprobs(v, [shown])[0] for v in (view, again))
    torch.testing.assert_close(before, after, rtol=0, atol=1e-3)  # these weights are drawn large
    kept = view.model.state_dict()
    assert all(torch.equal(kept[name], value) for name, value in again.model.state_dict().items())
    other = answer_logprobs(view, [view.encode(example(seed=1, size=(50, 40), question=one.question), answer="red")])[0]
    shut = text.startswith("gated")
    assert bool((before - other).abs().max() < 1e-3) == shut  # closed gates show nothing of the picture; all others do


def test_the_text_form_returns():
    for text in VARIANTS:
        assert parse_projector(str(parse_projector(text))) == parse_projector(text)
    assert str(ProjectorSpec("mlp", depth=2)) == "mlp"


def test_parameters_are_those_of_the_published_sizes():
    count = {t: _parameters(build_projector(parse_projector(t), 1024, 4096)) for t in ("linear", "mlp", "mlp:depth=3")}
    assert count == {"linear": 4_198_400, "mlp": 20_979_712, "mlp:depth=3": 37_761_024}


def _parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_nothing_is_learned_in_the_orthogonal_map_and_angles_are_kept():
    module = build_projector(ProjectorSpec("orthogonal"), 32, 48)
    assert not list(module.parameters())
    patches = torch.randn(1, 6, 32)
    a, b = patches[0], module(patches)[0]
    unit = a / a.norm(dim=-1, keepdim=True), b / b.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(unit[0] @ unit[0].T, unit[1] @ unit[1].T, rtol=1e-4, atol=1e-5)


def test_pooled_tokens_look_at_squares_and_queries_at_no_patch():
    pooled, queries = (swapped(t).encode(example(size=(28, 28))).layouts[0].rects for t in ("pool", "gated:tokens=7"))
    assert pooled.tolist()[:2] == [[0, 0, 14, 14], [14, 0, 28, 14]]
    assert queries.shape == (7, 4)
    assert np.isnan(queries).all()


def test_pooling_is_the_mean_of_its_square():
    module = build_projector(ProjectorSpec("pool", depth=1), 8, 8)
    patches = torch.randn(2, 16, 8)
    expected = module.inner(patches[:, [0, 1, 4, 5]].mean(1))
    torch.testing.assert_close(module(patches)[:, 0], expected)


def test_seeds_give_other_weights_and_the_same_seed_the_same():
    first, same, other = (next(iter(swapped("linear", seed).projector.parameters())) for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_a_swap_can_be_swapped_again():
    model, processor = build("llava")
    processor = swap_projector(model, processor, parse_projector("perceiver:tokens=5,depth=1"))
    processor = swap_projector(model, processor, parse_projector("linear"))
    assert len(chiasm.load(model=model, processor=processor).encode(example()).spans["image"]) == 16


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("conv", "conv"),
        ("conv:3", "perceiver"),
        ("mlp:tokens=3", "tokens"),
        ("mlp:depth", "depth, width"),
        ("mlp:deep=3", "deep=3"),
        ("pool:stride=3", "stride"),
    ],
)
def test_mistakes_are_named(text, message):
    with pytest.raises(ChiasmError, match=message):
        swapped(text)


def test_projectors_tied_to_a_grid_are_refused():
    model, processor = build("qwen2_vl")
    with pytest.raises(ChiasmError, match="grid"):
        swap_projector(model, processor, ProjectorSpec("linear"))
