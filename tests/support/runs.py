"""Views, jobs and variants for the laws."""

from functools import lru_cache

import torch
from tests.support.factories import build, example

from chiasm.interventions import (
    AveragedKeys,
    BlockedAttention,
    Change,
    Variant,
    Window,
    ZeroedBranch,
    parse_intervention,
)
from chiasm.models.encoded import Encoded
from chiasm.models.executors.jobs import Executor, Job, JobResult, Readout
from chiasm.models.view import ModelView


@lru_cache(maxsize=8)
def view_of(family: str, dtype: torch.dtype = torch.float32, layers: int = 4) -> ModelView:
    """A small random model of a family, made once per process. Do not change it."""
    return ModelView(*build(family, dtype=dtype, layers=layers), name=family)


def unseen(view: ModelView) -> ModelView:
    """The same model in a view that remembers nothing of what guards found before."""
    return ModelView(view.model, view.processor, name=view.name, family=view.family)


def encoded(view: ModelView, seed: int = 0, answer: str | None = None, **options: object) -> Encoded:
    return view.encode(example(view.family.name, seed=seed, **options), answer=answer)


def outcomes(executor: Executor, view: ModelView, jobs: list[Job]) -> list[JobResult]:
    """Results of jobs that must all succeed."""
    found = executor.run(view, jobs)
    for result in found:
        if isinstance(result, Exception):
            raise result
    return [result for result in found if isinstance(result, JobResult)]


def difference(a: JobResult, b: JobResult) -> float:
    """Largest difference in log-probability over vocabulary, read positions and variants."""
    assert a.full is not None
    assert b.full is not None
    return float((a.full - b.full).abs().max())


def cut(found: Encoded, text: str, start: int, stop: int) -> Variant:
    return Variant(f"{text}@{start}:{stop}", (parse_intervention(text).on(found.spans, Window(start, stop, start)),))


def job(found: Encoded, *variants: Variant, **readout: object) -> Job:
    return Job(found, tuple(variants), Readout(full=True, **readout))


def knock_out(start: int, stop: int, queries: list[int], keys: list[int]) -> Change:
    return BlockedAttention(Window(start, stop, start), tuple(queries), tuple(keys))


def zero(start: int, stop: int, component: str, positions: list[int]) -> Change:
    return ZeroedBranch(Window(start, stop, start), component, tuple(positions))


def average(start: int, stop: int, queries: list[int], keys: list[int]) -> Change:
    return AveragedKeys(Window(start, stop, start), tuple(queries), tuple(keys))
