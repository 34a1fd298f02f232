"""Attention between modalities closed, and Wanda's inputs as released: against what the model itself does."""

import numpy as np
import pytest
import torch
from tests.support.factories import example
from tests.support.runs import encoded, view_of
from tests.support.states import hidden_states

from chiasm.core.spans import PERCEPTUAL
from chiasm.measures.overlap import matrices_of
from chiasm.models.hooks import find_blocks
from chiasm.models.observe import PADDED, ModalityIsolation, decoder_inputs, observe, observe_padded

SPANS = ("image", "question")


def states_of(view, items, isolation):
    """By layer: the states of all tokens of the two spans."""
    found = {}

    def listen(seen):
        found[seen.layer] = [seen.states[s.start : s.stop].numpy() for s in seen.batch.segments]

    observe(view, find_blocks(view, items[0]), items, SPANS, listen, isolation=isolation)
    return found


@pytest.mark.parametrize("family", ["llava", "qwen2_vl"])
@pytest.mark.parametrize("batch", [1, 2])
def test_isolated_text_does_not_see_the_image(family, batch):
    view = view_of(family, torch.float64)
    items = [view.encode(example(family, seed=seed)) for seed in range(batch)]
    changed = []
    for item in items:
        inputs = dict(item.inputs)
        inputs["pixel_values"] = inputs["pixel_values"] + 1
        changed.append(type(item)(item.example_id, inputs, item.spans, item.text, item.images, item.layouts))
    plain, isolated = states_of(view, items, None), states_of(view, items, ModalityIsolation(PERCEPTUAL, 2))
    for layer in range(5):
        for k, (x, y) in enumerate(zip(plain[layer], isolated[layer], strict=True)):
            # The image stands before the question: only what stands before it could reach it, and it is cut off too.
            assert np.allclose(x, y, atol=1e-12) == (layer == 0), (layer, k)
    if batch == 1:
        other = states_of(view, changed, ModalityIsolation(PERCEPTUAL, 2))
        for layer in range(3):
            np.testing.assert_allclose(other[layer][1], isolated[layer][1], atol=1e-12)
        assert not np.allclose(other[3][1], isolated[3][1], atol=1e-6)
        assert not np.allclose(other[0][0], isolated[0][0], atol=1e-6)


def test_padding_does_not_reach_isolated_tokens():
    view = view_of("llava", torch.float64)
    items = [encoded(view, seed=seed) for seed in range(3)]
    assert len({item.length for item in items}) > 1
    together = states_of(view, items, ModalityIsolation(PERCEPTUAL, 3))
    alone = [states_of(view, [item], ModalityIsolation(PERCEPTUAL, 3)) for item in items]
    for layer in range(5):
        expected = [x for found in alone for x in found[layer]]
        for x, y in zip(together[layer], expected, strict=True):
            np.testing.assert_allclose(x, y, atol=1e-6)


def test_released_inputs_equal_a_plain_padded_forward():
    view = view_of("llava", torch.float64)
    item = encoded(view)
    rows = decoder_inputs(view, item.inputs)
    np.testing.assert_allclose(rows.numpy(), hidden_states(view, item)[0], atol=1e-12)
    rows = rows[torch.from_numpy(item.spans["image"])]
    found = {}

    def hear(layer, names, batch, x):
        assert len(batch.rows) == PADDED
        found.update({f"{layer}.{name}": x for name in names})

    observe_padded(view, find_blocks(view, item), "e", "image", rows, hear)
    padded = torch.cat([rows, torch.zeros(PADDED - len(rows), rows.shape[1], dtype=rows.dtype)])[None]
    expected = {}
    handles = [
        m.register_forward_pre_hook(lambda module, args, n=name: expected.setdefault(n, args[0].reshape(PADDED, -1)))
        for name, m in matrices_of(view.layers).items()
    ]
    n = len(rows)
    # Of the released code: positions and mask are zero, and those of the real rows are copied into them.
    positions = torch.zeros(1, PADDED, dtype=torch.long)
    positions[0, :n] = torch.arange(n)
    cos, sin = view.decoder.rotary_emb(padded, positions)
    hidden = padded
    with torch.no_grad():
        for layer in view.layers:
            # What a mask of zeros leaves visible is true here.
            mask = torch.ones(1, 1, PADDED, PADDED, dtype=torch.bool)
            mask[..., :n, :n] = torch.ones(n, n, dtype=torch.bool).tril()
            out = layer(hidden, attention_mask=mask, position_embeddings=(cos, sin))
            hidden = out[0] if isinstance(out, tuple) else out
    for handle in handles:
        handle.remove()
    assert found.keys() == expected.keys()
    for name, x in found.items():
        np.testing.assert_allclose(x.detach().numpy(), expected[name].detach().numpy(), atol=1e-9)
