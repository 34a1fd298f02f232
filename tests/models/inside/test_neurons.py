"""Planted neurons are found by every score, and taking them away is what hurts."""

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from tests.support.factories import build, example

import chiasm
from chiasm.core.errors import ChiasmError
from chiasm.models.hooks import find_blocks
from chiasm.models.inside.neurons import Neurons
from chiasm.models.inside.rerun import Rerun, frozen_model

LAYER, NEURON, TOKEN = 1, 37, 23


def view_of(**options):
    model, processor = build("llava", layers=3, **options)
    return chiasm.load(model=model, processor=processor)


def mlp_inputs(view, encoded):
    """What the feed-forward branch of the planted layer reads (T x D)."""
    kept = []
    handle = view.mlp_of(view.layers[LAYER]).register_forward_pre_hook(lambda m, args: kept.append(args[0][0]))
    with torch.no_grad():
        view.model(**encoded.inputs)
    handle.remove()
    return kept[0]


def plant(view, reads, writes, size=1.0):
    """Neuron NEURON of layer LAYER is about `size` where the branch reads what points along `reads`."""
    mlp = view.mlp_of(view.layers[LAYER])
    with torch.no_grad():
        mlp.gate_proj.weight[NEURON] = reads * size**0.5
        mlp.up_proj.weight[NEURON] = reads * size**0.5
        mlp.down_proj.weight[:, NEURON] = writes


def mean_rows(view, rows):
    """The reading direction that is 1 on average over the given rows."""
    mean = rows.mean(0)
    return mean / mean.square().sum()


def test_a_neuron_that_writes_what_the_answer_grows_along_is_first_by_gradient():
    view = view_of()
    with torch.no_grad():
        # Random neurons write as much as trained ones would; the planted one is to write more.
        for layer in view.layers:
            view.mlp_of(layer).down_proj.weight.mul_(0.05)
    prompt = view.encode(example())
    rerun = Rerun(view, prompt, (TOKEN,))
    with frozen_model(view), torch.enable_grad():
        states = rerun.hidden(rerun.states[None]).detach().requires_grad_(True)
        passed = list(rerun.through(states))
        along = torch.autograd.grad(rerun.score(passed[-1]).sum(), passed[LAYER])[0][0, rerun.rows].sum(0)
    inputs = mlp_inputs(view, prompt)[rerun.rows]
    plant(view, mean_rows(view, inputs), along / along.norm() * 2)
    rerun = Rerun(view, prompt, (TOKEN,))
    neurons = Neurons(view, prompt)
    assert neurons.shape == (3, 96)
    scores = neurons.by_gradient(rerun)
    best = int(scores.argmax())
    assert divmod(best, 96) == (LAYER, NEURON)
    # The first-order estimate is that of taking a little of it away.
    off = torch.zeros(2, *neurons.shape, dtype=torch.bool)
    off[1, LAYER, NEURON] = True
    clean, without = neurons.without(rerun, off).tolist()
    assert without < clean - 0.05


def test_the_gradient_score_is_the_derivative():
    view = view_of(dtype=torch.float64)
    prompt = view.encode(example())
    rerun = Rerun(view, prompt, (TOKEN, 5))
    neurons = Neurons(view, prompt)
    expected = neurons.by_gradient(rerun)[LAYER, NEURON]
    down = view.mlp_of(view.layers[LAYER]).down_proj

    def scaled(factor):
        def hook(module, args):
            changed = args[0].clone()
            changed[:, rerun.rows, NEURON] *= factor
            return (changed,)

        handle = down.register_forward_pre_hook(hook)
        with torch.no_grad():
            value = float(rerun(rerun.states[None])[0])
        handle.remove()
        return value

    assert (scaled(1.01) - scaled(0.99)) / 0.02 == pytest.approx(float(expected), rel=2e-2, abs=1e-4)


def test_a_neuron_that_writes_a_word_is_first_by_unembedding_and_says_it():
    view = view_of()
    prompt = view.encode(example())
    inputs = mlp_inputs(view, prompt)
    row = view.head.weight[TOKEN]
    plant(view, mean_rows(view, inputs[-1:]), 30 * row / row.norm())
    rerun = Rerun(view, prompt, (TOKEN,))
    neurons = Neurons(view, prompt)
    for released in (False, True):
        scores = neurons.by_unembedding(rerun, TOKEN, released=released)
        assert divmod(int(scores.argmax()), 96) == (LAYER, NEURON)
    assert view.tokenizer.decode([TOKEN]).strip() in neurons.words(LAYER, NEURON)


def test_the_unembedding_score_is_what_the_last_layer_adds_to_the_logit():
    view = view_of(dtype=torch.float64)
    prompt = view.encode(example())
    rerun = Rerun(view, prompt, (TOKEN,))
    neurons = Neurons(view, prompt)
    summed = float(neurons.by_unembedding(rerun, TOKEN)[-1].sum())
    block = find_blocks(view, prompt)[-1]
    kept = []
    handle = block.sites["down"].module.register_forward_hook(lambda m, a, out: kept.append(out[0, -1]))
    with torch.no_grad():
        view.model(**prompt.inputs)
    handle.remove()
    assert summed == pytest.approx(((kept[0] * view.final_norm.weight) @ view.head.weight[TOKEN]).item(), rel=1e-4)


def test_activity_is_counted_on_the_images_tokens():
    view = view_of()
    bright, dark = (view.encode(example(seed=s)) for s in (0, 1))
    rows = [mlp_inputs(view, one)[torch.from_numpy(one.spans["image"])] for one in (bright, dark)]
    both = torch.cat(rows)
    signs = torch.cat([torch.ones(len(rows[0])), -torch.ones(len(rows[1]))])
    reads = torch.linalg.lstsq(both, signs[:, None]).solution[:, 0]
    plant(view, reads, torch.zeros(48))
    neurons = Neurons(view, bright)
    counted = [neurons.active(one) for one in (bright, dark)]
    assert [n for _, n in counted] == [16, 16]
    assert [int(c[LAYER, NEURON]) for c, _ in counted] == [int((r @ reads > 0).sum()) for r in rows] == [16, 0]


def test_neurons_are_silenced_variant_by_variant():
    view = view_of()
    prompt = view.encode(example())
    rerun = Rerun(view, prompt, (TOKEN,))
    neurons = Neurons(view, prompt)
    off = torch.zeros(3, *neurons.shape, dtype=torch.bool)
    off[1, 0, :48], off[2] = True, True
    clean, some, all_ = neurons.without(rerun, off).tolist()
    with torch.no_grad():
        assert clean == pytest.approx(float(rerun(rerun.states[None])[0]), abs=1e-5)
        for layer in view.layers:
            view.mlp_of(layer).down_proj.weight.zero_()
        assert all_ == pytest.approx(float(rerun(rerun.states[None])[0]), abs=1e-5)
    assert len({round(v, 4) for v in (clean, some, all_)}) == 3


def test_adapters_are_part_of_what_a_neuron_writes():
    model, processor = build("llava", layers=2)
    lora = LoraConfig(target_modules=["down_proj"], r=2, init_lora_weights=False)
    wrapped = chiasm.load(model=get_peft_model(model, lora), processor=processor)
    prompt = wrapped.encode(example())
    found = Neurons(wrapped, prompt)
    merged = chiasm.load(model=wrapped.model.merge_and_unload(), processor=processor)
    plain = Neurons(merged, merged.encode(example()))
    assert found.shape == plain.shape == (2, 96)
    assert np.allclose(found.columns, plain.columns, atol=1e-4)


def test_branches_without_one_last_projection_are_refused():
    view = view_of()
    mlp = view.mlp_of(view.layers[0])

    class Experts(torch.nn.Module):
        def forward(self, x):
            return x

    mlp.after = Experts()
    mlp.forward = lambda x: mlp.after(mlp.down_proj(mlp.act_fn(mlp.gate_proj(x)) * mlp.up_proj(x)))
    with pytest.raises(ChiasmError, match="experts are not supported"):
        Neurons(view, view.encode(example()))
