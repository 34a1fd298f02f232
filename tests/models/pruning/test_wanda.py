"""Masks equal those of a slow, plain float64 implementation that shares no code with ours."""

import math

import pytest
import torch
from tests.support import factories
from tests.support.float64 import no_upcasts
from torch import nn

from chiasm.core.errors import ChiasmError
from chiasm.interventions.masks import MaskSpec
from chiasm.models.loading import wrap
from chiasm.models.pruning.calibrate import (
    MIN_TOKENS,
    calibrate,
    calibration_batches,
    calibration_bytes,
    choose_tokens,
    span_rows,
)
from chiasm.models.pruning.linears import matrices
from chiasm.models.pruning.weights import make_mask

LAYERS = 2


def view_of(family, seed=0, dtype=torch.float64):
    return wrap(*factories.build(family, dtype=dtype, layers=LAYERS, seed=seed), name=family)


def prompts(view, count=3):
    return [view.encode(factories.example(view.family.name, seed=seed), answer="red") for seed in range(count)]


def ours(view, encoded, spec, span="all", batch_size=1, tokens=None):
    rows = choose_tokens(span_rows(encoded, span), tokens)
    norms = calibrate(view, calibration_batches(view, encoded, batch_size), rows, spec)
    return make_mask(view, spec, [norms]), norms


@torch.no_grad()
def plain(view, encoded, sparsity, block=None, span="all"):
    """Wanda as the paper words it: whole forwards of the whole model, sums in Python, `sorted` on tuples."""
    before = {name: value.clone() for name, value in view.model.state_dict().items()}
    masks = {}
    for index, layer in enumerate(view.layers):
        squares = {}
        linears = {name: m for name, m in layer.named_modules() if isinstance(m, nn.Linear)}
        for one in encoded:
            text = [p for p in range(one.length) if p not in set(one.spans["image"].tolist())]
            positions = {"all": range(one.length), "text": text, "image": one.spans["image"].tolist()}[span]
            seen = {}
            handles = [
                m.register_forward_pre_hook(lambda _, args, name=name, seen=seen: seen.update({name: args[0][0]}))
                for name, m in linears.items()
            ]
            view.model(**one.inputs)
            for handle in handles:
                handle.remove()
            for name, inputs in seen.items():
                sums = squares.setdefault(name, [0.0] * inputs.shape[1])
                for position in positions:
                    for j, x in enumerate(inputs[position].tolist()):
                        sums[j] += x * x
        for name, linear in linears.items():
            mask = torch.ones(linear.weight.shape, dtype=torch.bool)
            for i, row in enumerate(linear.weight.tolist()):
                scored = [(abs(w) * math.sqrt(s), j) for j, (w, s) in enumerate(zip(row, squares[name]))]
                width = block[1] if block else len(row)
                count = block[0] if block else math.floor(len(row) * sparsity + 1e-9)
                for start in range(0, len(row), width):
                    for _, j in sorted(scored[start : start + width])[:count]:
                        mask[i, j] = False
            masks[f"{index}.{name}"] = mask
            linear.weight.masked_fill_(~mask, 0)
    view.model.load_state_dict(before)
    return masks


@pytest.mark.parametrize("family", factories.FAMILIES)
@pytest.mark.parametrize(("sparsity", "pattern"), [(0.3, "unstructured"), (0.5, "2:4")])
def test_masks_are_those_of_the_plain_implementation(family, sparsity, pattern):
    view = view_of(family)
    with no_upcasts(torch.float64):
        encoded = prompts(view)
        mask, _ = ours(
            view, encoded, MaskSpec(method="wanda", sparsity=sparsity, pattern=pattern, calibrations=("all",))
        )
        expected = plain(view, encoded, sparsity, (2, 4) if pattern == "2:4" else None)
    assert set(mask.bits) == set(expected)
    assert len(expected) == 7 * LAYERS
    for name, kept in expected.items():
        assert torch.equal(mask.kept(name), kept), name


@pytest.mark.parametrize(("pattern", "block"), [("4:8", (4, 8)), ("1:3", (1, 3))])
def test_other_blocks(pattern, block):
    view = view_of("llava")
    with no_upcasts(torch.float64):
        encoded = prompts(view)
        spec = MaskSpec(method="wanda", sparsity=block[0] / block[1], pattern=pattern, calibrations=("all",))
        mask, _ = ours(view, encoded, spec)
        expected = plain(view, encoded, None, block)
    assert all(torch.equal(mask.kept(name), kept) for name, kept in expected.items())


@pytest.mark.parametrize("span", ["image", "text"])
def test_only_the_tokens_of_a_modality_count(span):
    view = view_of("llava")
    with no_upcasts(torch.float64):
        encoded = prompts(view, 10 if span == "image" else 4)
        mask, norms = ours(view, encoded, MaskSpec(method="wanda", sparsity=0.5, calibrations=(span,)), span)
        expected = plain(view, encoded, 0.5, span=span)
    total = sum(len(e.spans["image"]) if span == "image" else e.length - len(e.spans["image"]) for e in encoded)
    assert norms.tokens == total
    assert all(torch.equal(mask.kept(name), kept) for name, kept in expected.items())


@pytest.mark.parametrize("family", factories.FAMILIES)
def test_padding_changes_no_mask(family):
    view = view_of(family)
    spec = MaskSpec(method="wanda", sparsity=0.5, calibrations=("all",))
    with no_upcasts(torch.float64):
        encoded = prompts(view)
        assert len({e.length for e in encoded}) > 1
        alone, norms = ours(view, encoded, spec)
        padded, with_padding = ours(view, encoded, spec, batch_size=3)
    assert norms.tokens == with_padding.tokens == sum(e.length for e in encoded)
    for name, values in norms.inputs.items():
        assert torch.allclose(values, with_padding.inputs[name], rtol=1e-9, atol=0), name
        assert torch.equal(alone.kept(name), padded.kept(name)), name


def test_later_blocks_see_pruned_ones():
    """Not so if all norms came from one pass over the dense model, as the tempting shortcut has it."""
    view = view_of("llava")
    batches = calibration_batches(view, prompts(view), 3)
    rows = span_rows(prompts(view), "all")
    few, many = (
        calibrate(view, batches, rows, MaskSpec(method="wanda", sparsity=s, calibrations=("all",))) for s in (0.1, 0.7)
    )
    first = [name for name in few.inputs if name.startswith("0.")]
    later = [name for name in few.inputs if not name.startswith("0.")]
    assert all(torch.equal(few.inputs[name], many.inputs[name]) for name in first)
    assert not any(torch.allclose(few.inputs[name], many.inputs[name], rtol=1e-3) for name in later)


@pytest.mark.parametrize("family", factories.FAMILIES)
def test_calibrating_leaves_the_model_as_it_was(family):
    view = view_of(family, dtype=torch.bfloat16)
    before = view.fingerprint()
    ours(view, prompts(view), MaskSpec(method="wanda", sparsity=0.5, calibrations=("all",)), batch_size=2)
    assert view.fingerprint() == before


def test_calibrating_leaves_the_model_as_it_was_when_it_fails(monkeypatch):
    view = view_of("llava")
    before, encoded = view.fingerprint(), prompts(view)
    batches, rows = calibration_batches(view, encoded), span_rows(encoded, "all")
    monkeypatch.setattr(view.layers[1], "forward", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        calibrate(view, batches, rows, MaskSpec(method="wanda", sparsity=0.5, calibrations=("all",)))
    assert view.fingerprint() == before
    assert not any(m._forward_pre_hooks for m in view.model.modules())


def test_the_share_is_exact_in_every_row():
    view = view_of("llava")
    mask, _ = ours(view, prompts(view), MaskSpec(method="wanda", sparsity=0.3, calibrations=("all",)))
    for name, (_, columns) in mask.shapes.items():
        assert set((~mask.kept(name)).sum(dim=1).tolist()) == {math.floor(0.3 * columns + 1e-9)}


@pytest.mark.parametrize(("part", "inside"), [("ffn", "mlp"), ("attention", "self_attn")])
def test_parts(part, inside):
    view = view_of("qwen2_vl")
    names = [matrix.name for matrix in matrices(view, part)]
    assert len(names) == LAYERS * (3 if part == "ffn" else 4)
    assert all(f".{inside}." in name for name in names)


def test_only_the_decoder_layers_are_touched():
    view = view_of("llava")
    chosen = {id(matrix.linear) for matrix in matrices(view)}
    others = [*view.vision_tower.modules(), *view.projector.modules(), view.head, view.embeddings]
    assert not chosen & {id(module) for module in others}


def test_experts_are_refused():
    view = view_of("llava")
    view.layers[1].mlp.add_module("experts", nn.ModuleList([nn.Linear(4, 4)]))
    with pytest.raises(ChiasmError, match=r"layer 1 holds experts.*Prune a dense model"):
        matrices(view)


def test_a_layer_that_routes_tokens_is_refused(monkeypatch):
    view = view_of("llava")
    encoded = prompts(view)
    batches, rows = calibration_batches(view, encoded), span_rows(encoded, "all")
    mlp = view.layers[1].mlp
    own = mlp.forward
    monkeypatch.setattr(mlp, "forward", lambda x: torch.cat([own(x[:, :3]), x[:, 3:]], dim=1))
    with pytest.raises(ChiasmError, match="is given 3 rows where its layer has"):
        calibrate(view, batches, rows, MaskSpec(method="wanda", sparsity=0.5, calibrations=("all",)))


def test_a_model_that_works_between_its_layers_is_refused():
    """As DeepStack does: what the decoder adds there, no layer knows of."""
    view = view_of("llava")
    encoded = prompts(view, 1)
    inside = []
    view.decoder.register_forward_pre_hook(lambda *_: inside.append(True))
    view.decoder.register_forward_hook(lambda *_: inside.clear())
    calibration_batches(view, encoded)
    view.layers[0].register_forward_hook(lambda _, args, output: output + 1 if inside else output)
    with pytest.raises(ChiasmError, match="does something between its layers"):
        calibration_batches(view, encoded)


@pytest.mark.parametrize(
    ("tokens", "message"), [(10_000, "examples hold"), (MIN_TOKENS - 1, f"fewer than {MIN_TOKENS} tokens mean little")]
)
def test_too_few_calibration_tokens(tokens, message):
    rows = [torch.ones(100, dtype=torch.bool), torch.ones(90, dtype=torch.bool)]
    with pytest.raises(ChiasmError, match=message):
        choose_tokens(rows, tokens)


def test_too_few_calibration_tokens_in_all():
    with pytest.raises(ChiasmError, match="hold 90 tokens of the span"):
        choose_tokens([torch.ones(90, dtype=torch.bool)], None)


def test_tokens_are_drawn_from_what_is_marked():
    rows = [torch.arange(300) % 2 == 0, torch.ones(100, dtype=torch.bool)]
    chosen = choose_tokens(rows, 200, seed=3)
    assert sum(int(row.sum()) for row in chosen) == 200
    assert all(bool((~a | b).all()) for a, b in zip(chosen, rows))
    assert all(torch.equal(a, b) for a, b in zip(chosen, choose_tokens(rows, 200, seed=3)))
    assert any(not torch.equal(a, b) for a, b in zip(chosen, choose_tokens(rows, 200, seed=4)))


def test_the_estimated_bytes_are_the_bytes_held():
    view = view_of("llava")
    encoded = prompts(view)
    held = sum(batch.hidden.nbytes for batch in calibration_batches(view, encoded, 2))
    estimate = calibration_bytes(view, encoded, 2)
    assert 2 * held <= estimate <= 2.2 * held


def test_a_pattern_that_does_not_divide():
    view = view_of("llava")
    spec = MaskSpec(method="wanda", sparsity=2 / 5, pattern="2:5", calibrations=("all",))
    with pytest.raises(ChiasmError, match="48 inputs, which 5 does not divide"):
        ours(view, prompts(view), spec)


def test_centred_norms_do_not_see_what_is_constant():
    """About the mean, as a plain computation over all tokens has it; a constant input counts nothing."""
    view = view_of("llava")
    with no_upcasts(torch.float64):
        encoded = prompts(view)
        spec = MaskSpec(method="wanda-centred", sparsity=0.5, calibrations=("all",))
        _, norms = ours(view, encoded, spec)
        seen = []
        hook = view.layers[0].self_attn.q_proj.register_forward_pre_hook(lambda m, a: seen.append(a[0][0]))
        with torch.no_grad():
            for one in encoded:
                view.model(**one.inputs)
        hook.remove()
    every = torch.cat(seen)
    name = "0.self_attn.q_proj"
    assert torch.allclose(norms.inputs[name], every.norm(dim=0), rtol=1e-9)
    assert torch.allclose(norms.centred[name], (every - every.mean(dim=0)).norm(dim=0), rtol=1e-6)
    assert bool((norms.centred[name] <= norms.inputs[name] + 1e-12).all())


def test_centred_masks_are_sequential_in_themselves():
    view = view_of("llava")
    with no_upcasts(torch.float64):
        encoded = prompts(view)
        found = [
            ours(view, encoded, MaskSpec(method=m, sparsity=0.5, calibrations=("all",)))[1]
            for m in ("wanda", "wanda-centred")
        ]
    last = f"{LAYERS - 1}.mlp.down_proj"
    assert torch.equal(found[0].inputs["0.self_attn.q_proj"], found[1].inputs["0.self_attn.q_proj"])
    assert not torch.allclose(found[0].inputs[last], found[1].inputs[last])
