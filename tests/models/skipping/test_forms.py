"""Layers side by side, as-released forms and sliding windows, against plain re-computations of the layers."""

import copy

import pytest
import torch
from tests.support.factories import build, example
from tests.support.float64 import no_upcasts
from transformers import LlavaForConditionalGeneration, Qwen2Config

from chiasm.core.errors import ChiasmError
from chiasm.interventions import Variant, Window, ZeroedBranch
from chiasm.interventions.published_skips import fast_v, parallel_blocks, parallel_sublayers
from chiasm.interventions.skips import Skip, SkipPlan
from chiasm.models.executors.jobs import Job, Readout
from chiasm.models.executors.reference import ReferenceExecutor
from chiasm.models.frame import record_frame
from chiasm.models.skipping.apply import skipping
from chiasm.models.skipping.plans import identity_of
from chiasm.models.view import ModelView

LAYERS = 4
PHASES = ("prefill", "both")


def plan_of(view: ModelView, *skips: Skip) -> SkipPlan:
    return SkipPlan(name="plan", model=identity_of(view), skips=skips)


def double() -> ModelView:
    return ModelView(*build("llava", dtype=torch.float64))


def skipped_logits(view: ModelView, inputs: dict, skip: Skip) -> torch.Tensor:
    with torch.no_grad(), skipping(view, plan_of(view, skip)):
        return view.model(**inputs, use_cache=False).logits


def branches(layer, x, arguments):
    """Both branches' parts of a layer, by its own modules."""
    attention = lambda h: layer.self_attn(hidden_states=h, **arguments)[0]  # noqa: E731
    return attention, layer.mlp, layer.input_layernorm, layer.post_attention_layernorm


def walk(view: ModelView, inputs: dict, step) -> torch.Tensor:
    """Logits after the layers' work as `step(index, layers, x, arguments)` has it; it returns x and the next index."""
    with torch.no_grad():
        frame = record_frame(view, inputs)
        x, index = frame.hidden, 0
        while index < LAYERS:
            x, index = step(index, view.layers, x, [dict(a, use_cache=False) for a in frame.arguments])
        return view.unembed(x)


def layer_of(layer, x, arguments):
    output = layer(x, **arguments)
    return output[0] if isinstance(output, tuple) else output


@pytest.mark.parametrize("form", ["corrected", "released"])
def test_pairs_of_layers_read_one_input(form: str) -> None:
    view = double()
    inputs = dict(view.encode(example("llava")).inputs)

    def step(index, layers, x, arguments):
        if index != 1:
            return layer_of(layers[index], x, arguments[index]), index + 1
        a, b = (layer_of(layers[k], x, arguments[k]) for k in (1, 2))
        return ((a + b) / 2 if form == "released" else a + b - x), index + 2

    with no_upcasts(torch.float64):
        got = skipped_logits(view, inputs, Skip(part="parallel-blocks", span="all", layers=(1,), form=form))
        expected = walk(view, inputs, step)
        plain = view.model(**inputs).logits
    assert (got - expected).abs().max() < 1e-9
    assert (got - plain).abs().max() > 1e-4


@pytest.mark.parametrize("form", ["corrected", "released"])
def test_parallel_branches_read_one_input(form: str) -> None:
    view = double()
    inputs = dict(view.encode(example("llava")).inputs)

    def step(index, layers, x, arguments):
        if index not in (1, 3):
            return layer_of(layers[index], x, arguments[index]), index + 1
        attention, mlp, first, second = branches(layers[index], x, arguments[index])
        return x + attention(first(x)) + mlp((first if form == "released" else second)(x)), index + 1

    with no_upcasts(torch.float64):
        got = skipped_logits(view, inputs, parallel_sublayers((1, 3), form=form))
        expected = walk(view, inputs, step)
    assert (got - expected).abs().max() < 1e-9


def test_the_released_feed_forward_skip_adds_the_norm() -> None:
    view = double()
    found = view.encode(example("llava"))
    image = torch.as_tensor(found.spans["image"])

    def step(index, layers, x, arguments):
        if index != 2:
            return layer_of(layers[index], x, arguments[index]), index + 1
        attention, mlp, first, second = branches(layers[index], x, arguments[index])
        h = x + attention(first(x))
        added = mlp(second(h))
        added[:, image] = second(h)[:, image]
        return h + added, index + 1

    with no_upcasts(torch.float64):
        inputs = dict(found.inputs)
        got = skipped_logits(view, inputs, Skip(part="ffn", span="image", layers=(2,), form="released"))
        expected = walk(view, inputs, step)
    assert (got - expected).abs().max() < 1e-9


def test_a_released_block_skip_lends_the_cache_of_the_layer_before() -> None:
    view = double()
    inputs = dict(view.encode(example("llava")).inputs)
    with torch.no_grad():
        for form in ("corrected", "released"):
            skip = Skip(part="block", span="all", layers=(2,), form=form)
            with skipping(view, plan_of(view, skip)) as model:
                output = model(**inputs, use_cache=True)
            before, own = (output.past_key_values.layers[k] for k in (1, 2))
            assert torch.equal(before.keys, own.keys) == (form == "released")


def test_released_pairs_share_the_mean_of_their_caches() -> None:
    view = double()
    inputs = dict(view.encode(example("llava")).inputs)
    caches = {}
    for form in ("corrected", "released"):
        with torch.no_grad(), skipping(view, plan_of(view, parallel_blocks(LAYERS, start=2, form=form))) as model:
            caches[form] = model(**inputs, use_cache=True).past_key_values.layers
    own = [(layer.keys, layer.values) for layer in caches["corrected"][2:]]
    for layer in caches["released"][2:]:
        for got, one, two in zip((layer.keys, layer.values), *own, strict=True):
            assert (got - (one + two) / 2).abs().max() < 1e-12


def test_pairs_decode_as_one_long_forward() -> None:
    view = double()
    found = view.encode(example("llava"))
    options = {"max_new_tokens": 3, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    with no_upcasts(torch.float64), torch.no_grad(), skipping(view, plan_of(view, parallel_blocks(LAYERS))) as model:
        made = model.generate(**found.inputs, **options, output_logits=True, return_dict_in_generate=True)
        ids = made.sequences[:, :-1]
        longer = dict(found.inputs) | {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        whole = model(**longer).logits
    assert (whole[0, -1] - made.logits[2][0]).abs().max() < 1e-9


def sliding() -> ModelView:
    """A decoder whose layers 0 and 2 see six positions back, beside the tower of the small LLaVA."""
    model, processor = build("llava")
    config = copy.deepcopy(model.config)
    old = config.text_config
    config.text_config = Qwen2Config(
        vocab_size=old.vocab_size,
        hidden_size=old.hidden_size,
        intermediate_size=2 * old.hidden_size,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        use_sliding_window=True,
        sliding_window=6,
        layer_types=["sliding_attention", "full_attention"] * 2,
        eos_token_id=old.eos_token_id,
    )
    torch.manual_seed(0)
    made = LlavaForConditionalGeneration(config).to(torch.float64).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3) if parameter.ndim > 1 else None
    return ModelView(made, processor, "sliding")


@pytest.mark.parametrize("part", ["attention", "block"])
def test_attention_is_skipped_under_sliding_windows(part: str) -> None:
    view = sliding()
    found = view.encode(example("llava"))
    assert found.length > 8
    image = tuple(int(p) for p in found.spans["image"])
    names = ("attention",) if part == "attention" else ("attention", "mlp")
    changes = tuple(ZeroedBranch(Window(k, k + 1, k), name, image) for k in (1, 2) for name in names)
    last = (found.length - 2, found.length - 1)
    with no_upcasts(torch.float64), torch.no_grad():
        [expected] = ReferenceExecutor().run(
            view, [Job(found, (Variant("zero", changes),), Readout(positions=last, full=True))]
        )
        with skipping(view, plan_of(view, Skip(part=part, span="image", layers=(1, 2)))) as model:
            got = model(**found.inputs, use_cache=False).logits[0, list(last)].log_softmax(-1)
    assert (got - expected.full[1]).abs().max() < 1e-9
    assert (expected.full[1] - expected.full[0]).abs().max() > 1e-4


@pytest.mark.parametrize("phase", PHASES)
def test_sliding_caches_decode_as_one_long_forward(phase: str) -> None:
    view = sliding()
    found = view.encode(example("llava"))
    span = "image" if phase == "prefill" else "all"
    skip = Skip(part="block", span=span, layers=(2,), phase=phase)
    options = {"max_new_tokens": 4, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    with no_upcasts(torch.float64), torch.no_grad(), skipping(view, plan_of(view, skip)) as model:
        made = model.generate(**found.inputs, **options, output_logits=True, return_dict_in_generate=True)
        ids = made.sequences[:, :-1]
        whole = model(**dict(found.inputs) | {"input_ids": ids, "attention_mask": torch.ones_like(ids)}).logits
    assert (whole[0, -1] - made.logits[3][0]).abs().max() < 1e-9


def test_tokens_are_not_dropped_under_sliding_windows() -> None:
    view = sliding()
    with pytest.raises(ChiasmError, match="cannot have gaps"), skipping(view, plan_of(view, fast_v(LAYERS))):
        pass
