"""Sites hold what their names say, and unsound states are named."""

import numpy as np
import pytest
import torch
from tests.support.factories import FAMILIES, example
from tests.support.float64 import no_upcasts
from tests.support.runs import encoded, view_of
from tests.support.states import hidden_states

from chiasm.core.errors import ChiasmError
from chiasm.models.hooks import SITES, find_blocks
from chiasm.models.observe import observe

SPANS = ("image", "question")


def seen_states(view, items, spans=SPANS, sites=frozenset(SITES), **options):
    found = {}

    def listen(seen):
        found[seen.layer, seen.site] = seen.states

    with no_upcasts(view.dtype):
        batch = observe(view, find_blocks(view, items[0]), items, spans, listen, sites=sites, **options)
    return batch, found


@pytest.mark.parametrize("family", FAMILIES)
def test_sites_obey_the_equations_of_a_block(family):
    view = view_of(family, torch.float64)
    items = [encoded(view, seed=1), encoded(view, seed=2)]
    _, found = seen_states(view, items)
    assert {site for _, site in found} == set(SITES)
    with torch.no_grad(), no_upcasts(torch.float64):
        for index, layer in enumerate(view.layers):
            at = {site: found[index, site] for site in SITES}
            close = {
                "norm1": layer.input_layernorm(at["residual"]),
                "attention_added": at["residual"] + at["attention"],
                "norm2": layer.post_attention_layernorm(at["attention_added"]),
                "gate_up": layer.mlp.act_fn(layer.mlp.gate_proj(at["norm2"])) * layer.mlp.up_proj(at["norm2"]),
                "down": layer.mlp.down_proj(at["gate_up"]),
            }
            for site, expected in close.items():
                torch.testing.assert_close(at[site], expected, msg=lambda m, s=site: f"{s}: {m}")
            torch.testing.assert_close(found[index + 1, "residual"], at["attention_added"] + at["down"])


def test_padding_never_enters():
    view = view_of("llava", torch.float64)
    items = [encoded(view, seed=seed) for seed in range(4)]
    assert len({item.length for item in items}) > 1
    batch, found = seen_states(view, items, sites=frozenset({"residual"}))
    states = [hidden_states(view, item) for item in items]
    for segment in batch.segments:
        positions = items[segment.example].spans[segment.span]
        assert segment.stop - segment.start == len(positions)
        for layer in range(view.n_layers + 1):
            own = found[layer, "residual"][segment.start : segment.stop].numpy()
            np.testing.assert_allclose(own, states[segment.example][layer, positions], rtol=1e-9, atol=1e-10)


def test_matrices_that_read_one_tensor_are_known():
    view = view_of("llava")
    (block, *_) = find_blocks(view, encoded(view))
    assert block.linears == (
        ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        ("self_attn.o_proj",),
        ("mlp.gate_proj", "mlp.up_proj"),
        ("mlp.down_proj",),
    )


def test_a_missing_span_is_left_out_and_an_unknown_one_is_a_mistake():
    view = view_of("llava")
    items = [encoded(view, seed=0), view.encode(example(images=0, seed=1))]
    batch, _ = seen_states(view, items, spans=("image", "video", "question"))
    assert [(s.example, s.span) for s in batch.segments] == [(0, "image"), (0, "question"), (1, "question")]
    assert batch.both("image", "question")[0].tolist() == [0]
    with pytest.raises(ChiasmError, match="nonsense"):
        seen_states(view, items, spans=("nonsense",))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_unsound_states_are_named_by_layer_and_the_others_stay(value):
    view = view_of("llava")
    items = [encoded(view, seed=0), encoded(view, seed=1)]
    spoilt = []

    def spoil(module, args, output):
        states = output[0] if isinstance(output, tuple) else output
        states[0, -items[0].length + items[0].spans["question"][0]] = value
        spoilt.append(1)

    handle = view.layers[1].register_forward_hook(spoil)
    try:
        batch, _ = seen_states(view, items, sites=frozenset({"residual"}))
    finally:
        handle.remove()
    assert spoilt
    assert set(batch.failures) == {0}
    assert "layer 1" in batch.failures[0]
    assert "`question`" in batch.failures[0]
    assert batch.places("question")[0].tolist() == [1]


def test_hooks_are_gone_and_the_model_is_untouched():
    view = view_of("llava")
    item = encoded(view)
    before = view.model(**item.inputs).logits
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in view.model.modules()]
    seen_states(view, [item])
    assert torch.equal(view.model(**item.inputs).logits, before)
    assert hooks == [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in view.model.modules()]


def test_replaced_embeddings_are_what_is_seen():
    view = view_of("llava")
    item = encoded(view)
    _, found = seen_states(view, [item], sites=frozenset({"residual"}), replace=lambda states, padding: states * 0 + 2)
    assert bool((found[0, "residual"] == 2).all())
    assert not bool((found[1, "residual"] == 2).all())
