"""One small flow run, for tests that look at it from different sides."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tests.support import factories

from chiasm.core.example import Example
from chiasm.models.loading import wrap
from chiasm.models.view import ModelView
from chiasm.results.rundir import RunDirectory
from chiasm.studies.flow.run import compute
from chiasm.studies.flow.spec import FlowSpec

LAYERS = 4


def view_of(family: str = "llava", seed: int = 0, dtype: torch.dtype = torch.float64) -> ModelView:
    return wrap(*factories.build(family, dtype=dtype, layers=LAYERS, seed=seed))


def examples(count: int = 4, **fields: Any) -> list[Example]:
    return [factories.example(seed=seed, **fields) for seed in range(count)]


def run(
    view: ModelView,
    chosen: Sequence[Example],
    out: Path | None = None,
    baseline: ModelView | None = None,
    resume: bool = False,
    **options: Any,
) -> RunDirectory:
    given: dict[str, Any] = {"keep": "all", "window": 3, "batch_size": 2} | options
    return compute(FlowSpec(model=view, data=list(chosen), out=out, baseline=baseline, resume=resume, **given))
