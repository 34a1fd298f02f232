"""The facade's `recover`: a model fine-tuned with a plan in effect."""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from chiasm.api.shared import Data, Model, data_name, data_of, is_endless, limit_of, view_of
from chiasm.core.errors import ChiasmError
from chiasm.core.example import DEFAULT_INSTRUCTION, Example
from chiasm.data import examples
from chiasm.data.sources import Split
from chiasm.interventions.skips import PERCEPTUAL, SkipPlan, SkipSpan
from chiasm.models.skipping import plans as _plans
from chiasm.models.skipping.operations import prefill_operations
from chiasm.results.schemas import SCHEMAS
from chiasm.results.series import with_inputs
from chiasm.results.tables import conform
from chiasm.studies.common import example_row
from chiasm.studies.skip.price import typical
from chiasm.studies.skip.recovery import measure_recovery
from chiasm.studies.skip.spec import SkipSpec
from chiasm.studies.skip.summary import recovery_rows
from chiasm.training.settings import RecoveryPart, RecoverySettings


@dataclass(frozen=True, slots=True)
class Recovery:
    """What `recover` measured. `summary` and `answers` have the columns of the tables `recovery` and `recovered`;
    `losses`: of training with the plan, nat per token and step."""

    summary: pl.DataFrame
    answers: pl.DataFrame
    losses: tuple[float, ...]


def recover(
    model: Model,
    plan: SkipPlan | str | Path,
    data: Data | None = None,
    *,
    train: RecoveryPart = "projector",
    train_on: Data | None = None,
    train_examples: int = 1024,
    steps: int = 200,
    batch_size: int = 16,
    rate: float | None = None,
    rank: int = 8,
    controls: bool = True,
    limit: int | None = None,
    split: Split = "heldout",
    media: str | Path | None = None,
    instruction: str = DEFAULT_INSTRUCTION,
    max_new_tokens: int = 32,
    seed: int = 0,
    device: str | None = None,
    dtype: str | None = None,
    out: str | Path | None = None,
) -> Recovery:
    """Fine-tune `model` with `plan` in effect, and measure on `data` what that gives back.

    `model` is changed: it stays trained, without the plan in effect; give the same one to `apply`, with
    `same_weights=False`. `train`: the projector, or low-rank updates of the decoder (`rank`), merged at the end.
    `train_on`: needed unless `data` have no end, whose other split is then used. `controls`: also train as long without
    the plan, and undo it. `out`: a new folder for the trained model and its plan.

    Source: Shukor & Cord 2024 (arXiv 2410.09454); the optimiser's settings for other models than theirs are ours.
    """
    data = data_of(model, data)
    found = plan if isinstance(plan, SkipPlan) else _plans.read_plan(plan)
    if train_on is None and not is_endless(data):
        raise ChiasmError(
            f"train with the plan `{found.name}`",
            f"`{data_name(data)}` is what it is judged on",
            "Give other examples with train_on",
        )
    settings = RecoverySettings(
        train=train, steps=steps, batch_size=batch_size, learning_rate=rate, rank=rank, seed=seed
    )
    judged = list(examples(data, limit_of(data, limit), seed, split, media))
    taught = to_train_on(data if train_on is None else train_on, train_examples, seed, split, media)
    view = view_of(model, device, dtype)
    _plans.require_fitting(view, found)
    measured = measure_recovery(
        view,
        found,
        taught,
        judged,
        settings,
        instruction=instruction,
        max_new_tokens=max_new_tokens,
        unit=batch_size,
        controls=controls,
        finish=lambda handle: handle.keep(),
    )
    if out is not None:
        _plans.save(view, found, out, same_weights=False)
    answers = conform(SCHEMAS["recovered"], measured.rows)
    inputs = typical(view, SkipSpec(model="", data="", span=perceptual_span(judged)), judged).inputs
    share = prefill_operations(view, inputs, found).total / prefill_operations(view, inputs).total
    known = conform(SCHEMAS["examples"], [example_row(example) for example in judged])
    rows = recovery_rows(with_inputs(answers, known), share)
    return Recovery(conform(SCHEMAS["recovery"], rows), answers, measured.losses)


def to_train_on(data: Data, count: int, seed: int, split: Split, media: str | Path | None) -> list[Example]:
    """The other split of data that are made; of others what is there."""
    other: Split = "train" if split == "heldout" else "heldout"
    return list(examples(data, count, seed, other, media))


def perceptual_span(chosen: list[Example]) -> SkipSpan:
    """What the first example that has something besides text has."""
    for example in chosen:
        for span in PERCEPTUAL:
            if {"image": example.images, "video": example.videos, "audio": example.audios}[span]:
                return span
    return "image"
