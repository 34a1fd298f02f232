"""Law: in every family, half-precision weights that are raised give what the same weights in float32 give."""

import copy
from contextlib import suppress
from dataclasses import replace

import pytest
import torch
from tests.laws.test_executors_agree import all_kinds
from tests.support.factories import EVERY, build
from tests.support.runs import difference, encoded, job, outcomes

from chiasm.models.executors.guard import Guard
from chiasm.models.executors.lockstep import LockstepExecutor
from chiasm.models.executors.reference import ReferenceExecutor
from chiasm.models.view import ModelView

DEFAULT = ("llava", "qwen2_vl", "gemma3", "mllama", "lfm2_vl")
FAMILIES = [family if family in DEFAULT else pytest.param(family, marks=pytest.mark.heavy) for family in EVERY]


def state_of(model):
    """Every tensor by name, as the object it is, and how often it was written to; and replaced forwards."""
    named = dict(model.named_parameters()) | dict(model.named_buffers())
    return {n: (id(t), t.dtype, t._version) for n, t in named.items()} | {
        f"{name}.forward": module.__dict__.get("forward") for name, module in model.named_modules()
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_every_kind_of_change_as_in_float32(family):
    model, processor = build(family, dtype=torch.bfloat16)
    before = state_of(model)
    raised, wide = ModelView(model, processor), ModelView(copy.deepcopy(model).float(), processor)
    results, given = [], encoded(raised)
    with torch.no_grad():
        assert model(**given.inputs).logits.dtype == torch.bfloat16, "the untouched model takes them as they are"
    for view, executor in (
        (raised, LockstepExecutor(guard=Guard(enabled=False))),
        (raised, ReferenceExecutor(reuse_vision=True)),
        (wide, ReferenceExecutor(reuse_vision=True)),
    ):
        # What some models do not bring into their own type is rounded before.
        found = replace(given, inputs=view.cast(given.inputs) if view is wide else given.inputs)
        results += outcomes(executor, view, [job(found, *all_kinds(found, view.n_layers))])
    packed, plain, expected = results
    assert difference(plain, expected) < 1e-6, "the same products, in the same order"
    assert difference(packed, expected) < 1e-4
    assert state_of(model) == before
    served = raised.as_served()
    found = encoded(served)
    rounded = outcomes(ReferenceExecutor(), served, [job(found, *all_kinds(found, served.n_layers))])[0]
    assert difference(rounded, expected) > 1e-3, "rounding must matter, or equality is empty"


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_weights_are_put_back_behind_an_exception(half):
    model, processor = build("llava", dtype=half)
    before = state_of(model)
    view = ModelView(model, processor)
    found = encoded(view)

    def fail(*args):
        raise RuntimeError("broken off")

    for module in (view.layers[2], view.layers[1].mlp, view.projector, view.head):
        handle = module.register_forward_hook(fail)
        with suppress(RuntimeError):
            LockstepExecutor().run(view, [job(found, *all_kinds(found, 4)[:3])])
            pytest.fail("the hook was not called")
        handle.remove()
        assert state_of(model) == before
