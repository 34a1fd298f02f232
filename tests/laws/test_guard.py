"""Law: where packing would be silently wrong, the guard refuses with the figure."""

from unittest.mock import patch

import numpy as np
import pytest
import torch
from tests.support.factories import build
from tests.support.runs import cut, encoded, job, knock_out, unseen
from torch import Tensor, nn

from chiasm.core.errors import ChiasmError, GuardError
from chiasm.interventions import Patch, Variant, Window
from chiasm.models.executors import walk
from chiasm.models.executors.donor_rows import DonorRowFinder
from chiasm.models.executors.guard import Guard
from chiasm.models.executors.jobs import Job
from chiasm.models.executors.lockstep import LockstepExecutor
from chiasm.models.executors.variant_groups import Chunk
from chiasm.models.view import ModelView


class RunningMean(nn.Module):
    """A branch that mixes rows by their place in the call, as linear attention and state-space layers do."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, hidden: Tensor) -> Tensor:
        counts = torch.arange(1, hidden.shape[1] + 1, dtype=hidden.dtype)[None, :, None]
        return self.inner(hidden.cumsum(dim=1) / counts)


class WithoutAttention(nn.Module):
    """A mixer in place of attention that never asks for a cache."""

    def forward(self, hidden_states: Tensor, **kwargs: object) -> tuple[Tensor, None]:
        return hidden_states.cumsum(dim=1), None


def fresh():
    view = ModelView(*build("llava"))
    found = encoded(view)
    return view, job(found, cut(found, "image->question", 0, 2), cut(found, "image->last", 1, 3))


def test_passes_on_a_sound_model_and_is_paid_once():
    view, work = fresh()
    executor = LockstepExecutor()
    executor.run(view, [work])
    spent = executor.guard.seconds
    assert spent > 0
    assert executor.guard.largest < 1e-3
    executor.run(view, [work])
    assert executor.guard.seconds == spent


def test_fires_on_a_packed_row_mixing_layer():
    view, work = fresh()
    layer = view.layers[2]
    layer.mlp = RunningMean(layer.mlp)
    with pytest.raises(GuardError, match="differ from a plain masked forward"):
        LockstepExecutor().run(view, [work])


def test_fires_on_a_dropped_mask():
    view, work = fresh()
    everything = lambda allowed, *rest: torch.ones_like(allowed)[:, None]  # noqa: E731
    with patch.object(walk, "as_layer_mask", everything), pytest.raises(GuardError):
        LockstepExecutor().run(view, [work])


@pytest.mark.parametrize("served", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fires_on_cuts_dropped_in_any_precision(dtype, served):
    """As a study lays them out: no-ops stand first, in half precision one per window, and all cuts end at `last`."""
    view = ModelView(*build("llava", dtype=dtype))
    view = view.as_served() if served else view
    found = encoded(view)
    last = [found.length - 1]
    noops = [Variant(f"no-op {k}", (knock_out(k, k + 1, last, []),)) for k in range(4)]
    work = job(
        found,
        *noops,
        cut(found, "image->last", 0, 4),
        cut(found, "question->last", 1, 3),
        cut(found, "image+question->last", 0, 4),
    )
    LockstepExecutor().run(view, [work])
    # What passed is kept with the view.
    view = ModelView(view.model, view.processor, precision=view.precision)
    with patch.object(Chunk, "_add_blocked", lambda *given: None), pytest.raises(GuardError):
        LockstepExecutor().run(view, [work])


def test_fires_on_nan():
    view, work = fresh()
    guard = Guard()
    executor = LockstepExecutor(guard=guard)
    poison = lambda layer, args, output: output * float("nan") if output.shape[1] < work.encoded.length else None  # noqa: E731
    handle = view.layers[1].mlp.register_forward_hook(poison)
    with pytest.raises(GuardError):
        executor.run(view, [work])
    handle.remove()


def test_a_layer_without_the_cache_interface_is_refused():
    view, work = fresh()
    view.layers[1].self_attn = WithoutAttention()
    with pytest.raises(ChiasmError, match="without the cache interface"):
        LockstepExecutor().run(view, [work])


def test_fires_where_a_donors_rows_are_taken_for_more_than_they_are():
    """The planted fault: rows that a patch leaves the example's own are read in the donor's run as well."""
    view = ModelView(*build("llava"))
    found, donor = encoded(view, seed=0), encoded(view, seed=4)
    image = tuple(found.spans["image"].tolist())
    part = Variant("half", (Patch(Window(1, 2, 1), "residual", image[:4], image[:4]),))
    work = [Job(found, (part,), donors=(donor,))]
    LockstepExecutor().run(view, work)
    everything = np.arange(image[0], image[-1] + 1)
    with patch.object(DonorRowFinder, "find", lambda *given: everything), pytest.raises(GuardError):
        LockstepExecutor().run(unseen(view), work)
