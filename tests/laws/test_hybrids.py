"""Laws of layers that are no self-attention: convolutions between attention, attention to the image, counted rows."""

from unittest.mock import patch

import pytest
import torch
from tests.support.float64 import no_upcasts
from tests.support.runs import cut, encoded, job, knock_out, outcomes, unseen, view_of

from chiasm.core.errors import ChiasmError, GuardError
from chiasm.interventions import Variant
from chiasm.models.executors.guard import Guard
from chiasm.models.executors.lockstep import LockstepExecutor
from chiasm.models.executors.reference import ReferenceExecutor
from chiasm.models.executors.walk import ContextCache, Walk

UNGUARDED = LockstepExecutor(guard=Guard(enabled=False))


@pytest.mark.parametrize("family", ["lfm2_vl", "qwen3_5"])
def test_a_cut_where_nothing_attends_changes_nothing(family):
    view = view_of(family, torch.float64)
    assert view.kinds == ("token_mixer", "attention", "token_mixer", "attention")
    found = encoded(view)
    for executor in (UNGUARDED, ReferenceExecutor()):
        with no_upcasts(torch.float64):
            windows = [(0, 1), (2, 3), (1, 2)]
            run = outcomes(executor, view, [job(found, *(cut(found, "image->question", *w) for w in windows))])[0]
        first, second, attending = (run.full[1:] - run.full[:1]).abs().amax(dim=(1, 2)).tolist()
        assert max(first, second) <= 1e-9
        assert attending > 0.01


def packed(self, index, layer, chunk, states, marked, patched):
    """The planted fault: the rows of all variants as one sequence."""
    return layer(states, **self.packed.row_arguments(index, chunk.rows[: states.shape[1]]))


@pytest.mark.parametrize("family", ["lfm2_vl", "qwen3_5"])
def test_the_guard_fires_where_a_token_mixer_is_packed(family):
    view = view_of(family)
    found = encoded(view)
    work = [job(found, cut(found, "image->question", 1, 2), cut(found, "image->last", 1, 2))]
    LockstepExecutor().run(view, work)
    with patch.object(Walk, "_unpacked", packed), pytest.raises(GuardError):
        LockstepExecutor().run(unseen(view), work)


def test_the_guard_fires_where_rows_are_counted_in_the_call():
    view = view_of("llama4")
    found = encoded(view)
    work = [job(found, cut(found, "image->question", 0, 2), cut(found, "image->last", 0, 2))]
    LockstepExecutor().run(view, work)
    with patch.object(ContextCache, "set_row_positions", lambda *given: None), pytest.raises(GuardError):
        LockstepExecutor().run(unseen(view), work)


def test_rows_that_are_counted_with_their_padding_are_not_batched():
    view = view_of("llama4")
    with pytest.raises(ChiasmError, match="in one batch they would be padded"):
        view.collate([encoded(view, seed=0), encoded(view, seed=1, question="Is it?")])


def by_hand(view, found, closed):
    """The model's own forward, with the cross-attention's output zeroed at the rows `closed` in every layer."""
    hooks = []
    for layer in view.layers:
        if "cross_attn" in dict(layer.named_children()):
            zeroing = lambda module, args, output: (output[0].index_fill(1, closed, 0), *output[1:])  # noqa: E731
            hooks.append(layer.cross_attn.register_forward_hook(zeroing))
    try:
        with torch.no_grad():
            return torch.log_softmax(view.model(**found.inputs, use_cache=False).logits[0, -1], -1)
    finally:
        for hook in hooks:
            hook.remove()


def cross_only(view, found, rows):
    """Hide the image in the layers that attend to it, and in them alone."""
    layers = [i for i, kind in enumerate(view.kinds) if kind == "cross_attention"]
    keys = found.spans["image"].tolist()
    return Variant("cross", tuple(knock_out(i, i + 1, rows, keys) for i in layers))


def test_hiding_an_image_zeroes_the_branch_that_attends_to_it():
    view = view_of("mllama", torch.float64)
    assert view.kinds == ("attention", "cross_attention", "attention", "cross_attention")
    with no_upcasts(torch.float64):
        found = encoded(view)
        rows = [int(p) for p in found.spans["question"]]
        own = by_hand(view, found, torch.tensor(rows))
        clean = by_hand(view, found, torch.tensor([], dtype=torch.long))
        assert float((own - clean).abs().max()) > 0.01
        for executor in (UNGUARDED, ReferenceExecutor()):
            run = outcomes(executor, view, [job(found, cross_only(view, found, rows))])[0]
            assert float((run.full[1, 0] - own).abs().max()) <= 1e-9


def test_the_public_cross_mask_is_no_cut():
    """A row of zeros there attends to every column alike: what a cut must not be mistaken for."""
    view = view_of("mllama", torch.float64)
    with no_upcasts(torch.float64), torch.no_grad():
        found = encoded(view)
        rows = [int(p) for p in found.spans["question"]]
        mask = found.inputs["cross_attention_mask"].clone()
        mask[:, rows] = 0
        public = view.model(**found.inputs | {"cross_attention_mask": mask}, use_cache=False).logits[0, -1]
        assert float((torch.log_softmax(public, -1) - by_hand(view, found, torch.tensor(rows))).abs().max()) > 0.01


def test_one_of_two_images_is_hidden_alone():
    view = view_of("mllama", torch.float64)
    with no_upcasts(torch.float64):
        found = encoded(view, images=2)
        cuts = [cut(found, f"{source}->question", 0, 4) for source in ("image", "image[0]", "image[1]")]
        run = outcomes(UNGUARDED, view, [job(found, *cuts)])[0]
    both, first, second = (run.full[1:] - run.full[:1]).abs().amax(dim=(1, 2)).tolist()
    assert min(both, first, second) > 0.01
    assert len({both, first, second}) == 3


def test_images_are_batched_only_where_they_are_as_many():
    view = view_of("mllama")
    with pytest.raises(ChiasmError, match="in one batch they would be padded"):
        view.collate([encoded(view, images=1), encoded(view, images=2)])
