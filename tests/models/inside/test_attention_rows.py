"""Attention rows of chosen queries, against what eager attention gives out."""

from contextlib import nullcontext

import pytest
import torch
from tests.support.factories import FAMILIES
from tests.support.float64 import no_upcasts
from tests.support.runs import encoded, view_of
from transformers import LlamaConfig, LlamaForCausalLM

from chiasm.core.errors import ChiasmError
from chiasm.models.families.base import Family
from chiasm.models.inside.attention_rows import attention_rows, sinks
from chiasm.models.skipping.timing import AllocatedBytes


def eager(view, inputs):
    """(layers, B, H, T, T) from the model's own eager attention."""
    before = view.attention_implementation
    view.decoder.set_attn_implementation("eager")
    try:
        with torch.no_grad():
            found = view.model(**inputs, output_attentions=True, use_cache=False)
    finally:
        view.decoder.set_attn_implementation(before)
    return torch.stack(found.attentions)


def rows_of(view, examples, queries):
    found = [{} for _ in examples]
    attention_rows(view, examples, queries, lambda layer, index, w: found[index].update({layer: w}))
    return [torch.stack([layers[k] for k in range(view.n_layers)]) for layers in found]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("dtype", "allowed"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_rows_equal_eager_attention(family, dtype, allowed):
    """One example, and a padded batch of two: the same rows as the matrix that eager attention holds."""
    view = view_of(family, dtype)
    with no_upcasts(dtype):
        for seeds in ((0,), (1, 2)):
            examples = [encoded(view, seed=seed) for seed in seeds]
            queries = [[0, int(e.spans["question"][0]), e.length - 1] for e in examples]
            inputs, padding = view.collate(examples)
            whole = eager(view, inputs)
            for index, rows in enumerate(rows_of(view, examples, queries)):
                own = whole[:, index, :, padding[index] :, padding[index] :]
                assert float((rows - own[:, :, queries[index]]).abs().max()) <= allowed
                torch.testing.assert_close(rows.sum(-1), torch.ones_like(rows[..., 0]))
    assert (rows > 0).any()


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_as_before_also_after_an_error(training):
    view = view_of("llava")
    found = encoded(view)
    view.model.train(training)

    def refuse(layer, index, weights):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        attention_rows(view, [found], [[0]], refuse)
    assert view.attention_implementation == "sdpa"
    assert view.model.training is training
    view.model.eval()


def test_logits_are_those_of_the_untouched_model():
    view, seen = view_of("qwen2_vl"), []
    found = encoded(view)
    hook = view.head.register_forward_hook(lambda module, args, output: seen.append(output))
    attention_rows(view, [found], [[0]], lambda *row: None)
    hook.remove()
    with torch.no_grad():
        plain = view.model(**found.inputs).logits
    torch.testing.assert_close(seen[0][0, -1], plain[0, -1])


def test_terms_that_are_not_followed_are_refused(monkeypatch):
    view = view_of("llava")
    attention = view.attention_of(view.layers[1])
    real = type(attention).forward

    def with_sinks(self, *args, **kwargs):
        return real(self, *args, **kwargs | {"s_aux": torch.zeros(4)})

    monkeypatch.setattr(type(attention), "forward", with_sinks)
    with pytest.raises(ChiasmError, match="adds s_aux"):
        attention_rows(view, [encoded(view)], [[0]], lambda *row: None)


def test_soft_capped_scores_are_followed():
    """Gemma 2 caps its scores; sdpa cannot, so the output must be ours and equal to eager's as well."""
    from transformers import Gemma2Config, Gemma2ForCausalLM

    config = Gemma2Config(
        vocab_size=99, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, attn_logit_softcapping=2.0, sliding_window=6, query_pre_attn_scalar=1,
    )  # fmt: skip
    torch.manual_seed(0)
    model = Gemma2ForCausalLM(config).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(0, 0.4)
    ids = torch.randint(0, 99, (1, 20))
    view = Bare(model)
    model.set_attn_implementation("eager")
    with torch.no_grad():
        own = model(ids, output_attentions=True, use_cache=False)
    found = {}
    attention_rows(view, [Plain(ids)], [[3, 19]], lambda layer, index, w: found.update({layer: w}))
    for layer, whole in enumerate(own.attentions):
        torch.testing.assert_close(found[layer], whole[0][:, [3, 19]], atol=1e-6, rtol=0)
    torch.testing.assert_close(view.last, own.logits[0, -1], atol=1e-5, rtol=1e-5)


@pytest.mark.heavy
def test_a_tenth_of_eagers_memory_at_3000_tokens():
    config = LlamaConfig(
        vocab_size=64, hidden_size=128, intermediate_size=128, num_hidden_layers=2, num_attention_heads=8,
        num_key_value_heads=2, max_position_embeddings=3000,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    ids = torch.randint(0, 64, (1, 3000))
    view, kept = Bare(model), []
    model.set_attn_implementation("sdpa")
    with AllocatedBytes() as own:
        attention_rows(view, [Plain(ids)], [[2999]], lambda layer, index, w: kept.append(w.mean(0)))
    model.set_attn_implementation("eager")
    with AllocatedBytes() as whole, torch.no_grad():
        model(ids, output_attentions=True, use_cache=False, logits_to_keep=1)
    assert own.peak < whole.peak / 10


class Plain:
    """Just enough of an encoded example for a text-only decoder."""

    def __init__(self, ids):
        self.inputs, self.length = {"input_ids": ids}, ids.shape[1]


class Bare:
    """Just enough of a view for a text-only decoder; remembers the logits of the last position."""

    def __init__(self, model):
        self.model, self.decoder, self.layers = model, model, model.model.layers
        self.device, self.name, self.is_peft = torch.device("cpu"), "bare", False
        self.family = Family()
        self.kinds = ("attention",) * len(self.layers)
        model.register_forward_hook(self._keep)

    @property
    def attention_implementation(self):
        return self.model.config._attn_implementation

    def readable_attention(self):
        return nullcontext()

    def attention_of(self, layer):
        return layer.self_attn

    def collate(self, encoded):
        return dict(encoded[0].inputs), [0]

    def _keep(self, module, args, output):
        self.last = output.logits[0, -1]


def test_sinks_are_found_and_a_token_looking_at_itself_is_none():
    weights = torch.full((4, 2, 6), 0.02)
    weights[:, :, 1] = 0.5  # everybody looks at 1
    weights[:, 0, 4] = 0.45  # only the first query, which is 5, looks at 4
    weights[0, :, 2] = 0.4  # in one layer of four
    weights[:, 0, 5] = weights[:, 1, 3] = 0.9  # the queries themselves
    assert sinks(weights, [5, 3]).nonzero().flatten().tolist() == [1]
