"""Does the alignment score go with how well models answer, and with what they make up? A point per model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl

from chiasm.core.answer_metrics import ANSWER_METRICS
from chiasm.core.errors import ChiasmError
from chiasm.core.example import Example
from chiasm.core.statistics.correlation import correlate
from chiasm.data.tasks import task_of
from chiasm.models.encoding.prompts import DEFAULT_INSTRUCTION
from chiasm.models.view import ModelView
from chiasm.results.rundir import RunDirectory
from chiasm.studies.align.run import run_align
from chiasm.studies.align.spec import DEFAULT_SPANS, AlignSpec
from chiasm.studies.eval.run import run_eval
from chiasm.studies.eval.spec import EvalSpec, asked_as


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareSpec:
    """One run of `chiasm align --compare`: the same examples, put to each of `models`.

    `task`: what is measured on the same data beside their own questions (see `chiasm.data.tasks`).
    """

    models: tuple[str, ...]
    data: str
    task: tuple[str, ...] = ()
    objects: str | None = None
    span: tuple[str, ...] = DEFAULT_SPANS
    limit: int | None = None
    split: str = "heldout"
    instruction: str = DEFAULT_INSTRUCTION
    seed: int = 0
    unit: int = 8

    def __post_init__(self) -> None:
        if len(self.models) < 2 or len(set(self.models)) < len(self.models):
            found = f"{', '.join(self.models) or 'none'} given"
            raise ChiasmError("compare models", found, "Name two or more, each once; four are needed for an interval")
        for name in self.task:
            if task_of(name) == "qa" or self.task.count(name) > 1:
                raise ChiasmError(f"--task {name}", "it is measured already", "Name each further task once")
        _align_spec(self, self.models[0])  # says what is wrong with spans and sizes

    @property
    def model(self) -> str:
        """All of them, as the report names them."""
        return ", ".join(self.models)


RELATED = ("vqa_accuracy", "cider_d", "pope_f1", "chair_i", "chair_s")
"""The measures that are related to the score, fixed beforehand: with each more, one is likelier to fit by chance."""


def run_compare(
    spec: CompareSpec,
    load: Callable[[str], ModelView],
    examples: Sequence[Example],
    directory: RunDirectory,
    others: Mapping[str, Sequence[Example]] = MappingProxyType({}),
) -> None:
    """Fill `directory` with the tables of a comparison; what is finished of a model is not repeated.

    `others`: the examples of the tasks in `spec.task`. Tables: `compare` and `correlation` (score and accuracy),
    `outcomes` (all other measures of performance and hallucination) and `outcome_correlation` (score and `RELATED`).

    Every model has runs of its own under `shards/models`, which are removed in the end. One model is in memory at a
    time.

    **Errors:** `ChiasmError` for a model that cannot be loaded, or on which no example is left.
    """
    for index, name in enumerate(spec.models):
        if index not in directory.done():
            found = _one(spec, load, name, examples, others, directory.path / "shards" / "models" / str(index))
            directory.write_shard(index, found, kept=max(row["n"] for row in found["compare"]))
    table, outcomes = directory.table("compare"), directory.table("outcomes")
    accuracies = table.select("model", pl.col("accuracy").alias("outcome")).unique(maintain_order=True).drop_nulls()
    directory.write_table("correlation", _relations(table, accuracies, spec.seed))
    related: list[dict[str, Any]] = []
    chosen = outcomes.filter(pl.col("metric").is_in(RELATED))
    for about in chosen.select("task", "metric", "kind").unique(maintain_order=True).iter_rows(named=True):
        same = _where(chosen, about).select("model", pl.col("value").alias("outcome")).drop_nulls()
        if same.height >= 2:
            related += [about | row for row in _relations(table, same, spec.seed)]
    directory.write_table("outcome_correlation", related)
    directory.finish()


def _where(frame: pl.DataFrame, about: Mapping[str, Any]) -> pl.DataFrame:
    return frame.filter(pl.all_horizontal(pl.col(key) == value for key, value in about.items()))


def _relations(scores: pl.DataFrame, outcomes: pl.DataFrame, seed: int) -> list[dict[str, Any]]:
    """Every score against one outcome (columns `model`, `outcome`), over the models that have it."""
    rows = []
    for about in scores.select("name", "statistic", "a", "b").unique(maintain_order=True).iter_rows(named=True):
        both = _where(scores, about).join(outcomes, on="model", how="inner", maintain_order="left")
        if both.height >= 2:
            rows.append(about | _related(both["value"].to_numpy(), both["outcome"].to_numpy(), seed))
    return rows


def _one(
    spec: CompareSpec,
    load: Callable[[str], ModelView],
    name: str,
    examples: Sequence[Example],
    others: Mapping[str, Sequence[Example]],
    root: Path,
) -> dict[str, list[dict[str, Any]]]:
    """Score, accuracy and other outcomes of one model."""
    view = load(name)
    align = _align_spec(spec, name)
    root.mkdir(parents=True, exist_ok=True)
    with RunDirectory.open(root / "align", align, resume=True, facts={"asked": len(examples)}) as scored:
        if not scored.complete:
            run_align(align, view, examples, scored)
    answered = {"qa": _answers(spec, view, name, "qa", examples, root)}
    answered |= {task: _answers(spec, view, name, task, others[task], root) for task in spec.task}
    whole = (
        answered["qa"]
        .table("metrics")
        .filter((pl.col("metric") == "accuracy") & (pl.col("type") == "all") & (pl.col("shown") == "image"))
    )
    # Where examples have no label (captions), there is no accuracy; the measures of answers are in `outcomes`.
    right = whole.row(0, named=True) if whole.height else {"value": None, "low": None, "high": None}
    about = {
        "model": name,
        "accuracy": right["value"],
        "accuracy_low": right["low"],
        "accuracy_high": right["high"],
    }
    scores = [row | about for row in scored.table("score").iter_rows(named=True)]
    return {
        "compare": scores,
        "outcomes": [row for task, run in answered.items() for row in _outcomes(name, task, run)],
    }


def _answers(
    spec: CompareSpec, view: ModelView, name: str, task: str, examples: Sequence[Example], root: Path
) -> RunDirectory:
    instruction, longest = asked_as(examples, spec.instruction if task == "qa" else None)
    asked = EvalSpec(
        model=name,
        data=spec.data,
        limit=spec.limit,
        split=spec.split,
        task=task,
        objects=spec.objects,
        instruction=instruction,
        max_new_tokens=longest,
        seed=spec.seed,
        unit=spec.unit,
    )
    place = root / ("eval" if task == "qa" else f"eval-{task}")
    with RunDirectory.open(place, asked, resume=True, facts={"asked": len(examples)}) as answered:
        if not answered.complete:
            run_eval(asked, view, examples, answered)
    return answered


def _outcomes(model: str, task: str, run: RunDirectory) -> list[dict[str, Any]]:
    rows = run.table("metrics").filter((pl.col("type") == "all") & (pl.col("shown") == "image"))
    return [
        {
            "model": model,
            "task": task,
            "kind": ANSWER_METRICS[row["metric"]].kind,
            **{key: row[key] for key in ("metric", "value", "low", "high", "n")},
        }
        for row in rows.iter_rows(named=True)
        if ANSWER_METRICS[row["metric"]].kind != "description"
    ]


def _align_spec(spec: CompareSpec, name: str) -> AlignSpec:
    """The score alone: controls and dear measures belong to a run of one model."""
    return AlignSpec(
        model=name,
        data=spec.data,
        span=spec.span,
        limit=spec.limit,
        split=spec.split,
        inside=False,
        vocabulary_tokens=0,
        controls=False,
        instruction=spec.instruction,
        seed=spec.seed,
        unit=spec.unit,
    )


def _related(score: np.ndarray, accuracy: np.ndarray, seed: int) -> dict[str, Any]:
    found = correlate(score, accuracy, seed=seed)
    values = {key: getattr(found, key) for key in found.__slots__ if key != "n"}
    return {key: None if np.isnan(value) else float(value) for key, value in values.items()} | {"models": found.n}
