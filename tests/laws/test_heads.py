"""Law: heads are told apart by what they do, in every family; what only looks like heads is refused."""

import pytest
import torch
from tests.support.factories import FAMILIES, KINDS, build
from tests.support.runs import encoded, unseen, view_of
from torch import nn

from chiasm.core.errors import ChiasmError
from chiasm.models.conformance.heads import head_anatomy
from chiasm.models.view import ModelView


@pytest.mark.parametrize("family", [*FAMILIES, *(pytest.param(kind, marks=pytest.mark.heavy) for kind in KINDS)])
def test_slices_of_the_output_projection_are_heads(family):
    view = unseen(view_of(family))
    found = head_anatomy(view, encoded(view))
    assert (found.heads, found.heads % found.groups) == (4, 0)
    assert found.layers == tuple(layer for layer, kind in enumerate(view.kinds) if kind == "attention")
    # Every layer is swept or left out in words.
    assert bool(found.left_out) == (len(found.layers) < view.n_layers)


def test_layers_without_heads_are_left_out_in_words():
    view = unseen(view_of("lfm2_vl"))
    found = head_anatomy(view, encoded(view))
    assert found.layers == (1, 3)
    assert found.left_out == "layers 0, 2: positions are mixed without heads"


def changed(change):
    """A LLaVA whose second layer is changed, and an example."""
    model, processor = build("llava")
    view = ModelView(model, processor)
    change(view.output_projection_of(view.layers[1]), view.attention_of(view.layers[1]))
    return view, encoded(view)


def behind(order):
    """Put what the output projection reads through `order` first."""
    return lambda projection, attention: projection.register_forward_pre_hook(
        lambda module, args: (order(args[0]), *args[1:]), prepend=True
    )


SWAPPED = behind(lambda read: read.reshape(*read.shape[:-1], 4, -1).flip(-2).reshape(read.shape))
NORMED = behind(lambda read: nn.functional.rms_norm(read, read.shape[-1:]))
INTERLEAVED = behind(lambda read: read.reshape(*read.shape[:-1], 4, -1).transpose(-1, -2).reshape(read.shape))


@pytest.mark.parametrize("order", [SWAPPED, NORMED, INTERLEAVED])
def test_what_the_projection_reads_in_another_order_is_left_out(order):
    view, prompt = changed(order)
    found = head_anatomy(view, prompt)
    assert found.layers == (0, 2, 3)
    assert found.left_out.startswith("layer 1: heads are mixed")


def without_masks(projection, attention):
    forward = attention.forward
    attention.forward = lambda *args, **named: forward(*args, **named | {"attention_mask": None})


def test_a_layer_that_heeds_no_mask_is_left_out():
    view, prompt = changed(without_masks)
    assert head_anatomy(view, prompt).left_out == "layer 1: a mask of each head is not heeded"


def fewer_heads(projection, attention):
    """Two heads of queries, twice as wide, on one of keys, from the same matrices."""
    attention.head_dim *= 2


def test_layers_with_another_number_of_heads_are_left_out():
    view, prompt = changed(fewer_heads)
    found = head_anatomy(view, prompt)
    assert found.layers == (0, 2, 3)
    assert "no mask of each of 4 heads is taken" in found.left_out


def test_a_model_without_any_such_layer_is_refused():
    model, processor = build("llava")
    view = ModelView(model, processor)
    for layer in view.layers:
        NORMED(view.output_projection_of(layer), view.attention_of(layer))
    with pytest.raises(ChiasmError, match=r"single attention heads.*layers 0, 1, 2, 3: heads are mixed"):
        head_anatomy(view, encoded(view))


def test_what_was_measured_is_remembered_until_a_weight_changes(monkeypatch):
    view = ModelView(*build("llava"))
    prompt = encoded(view)
    first = head_anatomy(view, prompt)
    calls = []
    monkeypatch.setattr(
        "chiasm.models.conformance.heads.record_frame", lambda *args: calls.append(args) or pytest.fail("measured anew")
    )
    assert head_anatomy(view, prompt) == first
    assert not calls


def test_a_head_that_gives_nothing_is_a_head_all_the_same():
    model, processor = build("llava")
    view = ModelView(model, processor)
    with torch.no_grad():
        view.attention_of(view.layers[1]).v_proj.weight[: view.width // 4].zero_()
    assert head_anatomy(view, encoded(view)).layers == (0, 1, 2, 3)
