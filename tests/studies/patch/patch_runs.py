"""Small patching runs on random models, for tests that look at them from different sides."""

from collections.abc import Sequence
from typing import Any

import torch
from tests.support import factories
from torch import nn

from chiasm.core.example import Example
from chiasm.models.loading import wrap
from chiasm.models.view import ModelView
from chiasm.results.rundir import RunDirectory
from chiasm.studies.patch.run import compute
from chiasm.studies.patch.spec import PatchSpec

LAYERS = 4
SIZE = (60, 40)


def view_of(family: str = "llava", seed: int = 0, dtype: torch.dtype = torch.float64) -> ModelView:
    """A random model that gives other images other answers."""
    return telling_apart(wrap(*factories.build(family, dtype=dtype, layers=LAYERS, seed=seed)))


def telling_apart(view: ModelView, sharp: float = 30.0) -> ModelView:
    """The same model with an output head that sees nothing of what all examples share at the last position, and of the
    rest `sharp` times as much: what is most probable depends on the image, which it does not with random weights."""
    states = []
    head = view.model.get_output_embeddings()
    handle = head.register_forward_pre_hook(lambda _, given: states.append(given[0][0, -1]))
    with torch.no_grad():
        for one in examples(8):
            view.model(**view.encode(one).inputs)
        handle.remove()
        mean = torch.stack(states).mean(0)
        mean = mean / mean.norm()
        weight = head.weight - (head.weight @ mean)[:, None] * mean[None]
        other = nn.Linear(*reversed(weight.shape), bias=False, dtype=weight.dtype)
        other.weight.copy_(sharp * weight)
    view.model.set_output_embeddings(other)
    return view


def examples(count: int = 6, **fields: Any) -> list[Example]:
    """Examples of one question on images of one size, which name each other in pairs; answers are labels alone."""
    made = []
    for seed in range(count):
        given: dict[str, Any] = {"answer": ("red", "blue")[seed % 2]} | fields
        one = factories.example(seed=seed, size=SIZE, question="Is it red or blue?", **given)
        object.__setattr__(one, "id", f"example-{seed}")
        object.__setattr__(one, "pair", f"example-{seed ^ 1}")
        made.append(one)
    return made


def run(view: ModelView, chosen: Sequence[Example], **options: Any) -> RunDirectory:
    given: dict[str, Any] = {"keep": "all", "batch_size": 2, "baseline": None, "smallest_gap": 0.01} | options
    return compute(PatchSpec(model=view, data=list(chosen), **given))
