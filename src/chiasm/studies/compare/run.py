"""Does the alignment score go with how well models answer, and with what they make up? A point per model."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl

from chiasm.core.answer_metrics import ANSWER_METRICS
from chiasm.core.example import Example
from chiasm.core.statistics.correlation import correlate
from chiasm.data.tasks import Task
from chiasm.models.view import ModelView
from chiasm.results.reasons import failed_in
from chiasm.results.rundir import RunDirectory
from chiasm.runners.driver import Computed, KeyedJob, Tracker, drive, one_by_one
from chiasm.studies.align import STUDY as ALIGN
from chiasm.studies.align.run import run_align
from chiasm.studies.align.spec import AlignSpec
from chiasm.studies.compare import STUDY
from chiasm.studies.compare.spec import CompareSpec
from chiasm.studies.compare.tables import RELATED
from chiasm.studies.eval.run import answered_run
from chiasm.studies.eval.spec import EvalSpec
from chiasm.studies.inputs import count_of, data_facts, limit_of, read_examples, view_of
from chiasm.studies.options import data_name
from chiasm.tiny.registry import world

Tasks = Mapping[Task, Sequence[Example]]


def compute(spec: CompareSpec) -> RunDirectory:
    """The run of `spec`: what its directory already holds is not computed again.

    **Errors:** `ChiasmError` for a model that cannot be loaded, or on which no example is left.
    """
    data = world(spec.names[0]) if spec.data is None else spec.data
    if not isinstance(data, str | Path):
        data = list(data)  # read once for every task
    spec = spec.complete(data=data, limit=limit_of(data, spec.limit), batch_size=spec.batch)
    chosen = read_examples(spec, data)
    tasks = {task: read_examples(spec, data, task) for task in spec.tasks}
    facts = {
        "data": data_facts(data_name(data) or "", chosen),
        "seed": spec.seed,
        "asked": len(chosen) * len(spec.models),
    }
    return STUDY.completed(spec, facts, lambda directory: run_compare(spec, chosen, directory, tasks))


def count_examples(spec: CompareSpec) -> int:
    """How many examples each model is asked."""
    data = world(spec.names[0]) if spec.data is None else spec.data
    return count_of(spec, data, limit_of(data, spec.limit))


def run_compare(
    spec: CompareSpec, examples: Sequence[Example], directory: RunDirectory, tasks: Tasks = MappingProxyType({})
) -> None:
    """Fill `directory` with the tables of a comparison; what is finished of a model is not repeated.

    `tasks`: the examples of those in `spec.tasks`. Tables: `compare` and `correlation` (score and accuracy),
    `outcomes` (all other measures of performance and hallucination) and `outcome_correlation` (score and `RELATED`).

    Every model has runs of its own under `shards/models`, which are removed in the end.

    **Errors:** `ChiasmError` for a model that cannot be loaded, or on which no example is left.
    """

    def compute_model(index: int, tracker: Tracker) -> Computed:
        return _measured(spec, index, {"qa": examples, **tasks}, directory.nested("models", index))

    jobs = [KeyedJob(index, index, name=name) for index, name in enumerate(spec.names)]
    drive(jobs, one_by_one(compute_model), directory, "compare", noun="models")
    directory.take_turn()
    scores, outcomes = directory.table("compare"), directory.table("outcomes")
    accuracies = scores.select("model", pl.col("accuracy").alias("outcome")).unique(maintain_order=True).drop_nulls()
    directory.write_table("correlation", _relations(scores, accuracies, spec.seed))
    related: list[dict[str, Any]] = []
    chosen = outcomes.filter(pl.col("metric").is_in(RELATED))
    for about in chosen.select("task", "metric", "kind").unique(maintain_order=True).iter_rows(named=True):
        same = chosen.filter(**about).select("model", pl.col("value").alias("outcome")).drop_nulls()
        related += [about | row for row in _relations(scores, same, spec.seed)]
    directory.write_table("outcome_correlation", related)
    directory.finish()


def _measured(spec: CompareSpec, index: int, tasks: Tasks, root: Path) -> Computed:
    """Score, accuracy and other outcomes of one model, from runs of its own under `root`."""
    view, name = view_of(spec.models[index], spec), spec.names[index]
    # The score alone: controls and dear measures belong to a run of one model.
    asked = spec.derive(AlignSpec, model=name, inside=False, vocabulary_tokens=0, controls=False)
    examples = tasks["qa"]
    scored = ALIGN.completed(
        asked, {"asked": len(examples)}, lambda run: run_align(asked, view, examples, run), root / "align"
    )
    answers = {task: _answered(spec, view, name, task, tasks, root) for task in tasks}
    metrics = {task: run.table("metrics").filter(type="all", shown="image") for task, run in answers.items()}
    right = metrics["qa"].filter(pl.col("metric") == "accuracy").to_dicts()
    # Where examples have no label (captions), there is no accuracy; the measures of answers are in `outcomes`.
    accuracy = right[0] if right else {"value": None, "low": None, "high": None}
    about = {
        "model": name,
        "accuracy": accuracy["value"],
        "accuracy_low": accuracy["low"],
        "accuracy_high": accuracy["high"],
    }
    scores = [row | about for row in scored.table("score").iter_rows(named=True)]
    outcomes = [row for task, rows in metrics.items() for row in _outcomes(name, task, rows)]
    failures = failed_in(name, scored.failures(), answers["qa"].failures())
    return Computed({"compare": scores, "outcomes": outcomes}, failures, kept=len(examples) - len(failures))


def _answered(spec: CompareSpec, view: ModelView, name: str, task: Task, tasks: Tasks, root: Path) -> RunDirectory:
    """The run in which a model answers a task."""
    examples = tasks[task]
    instruction = spec.instruction if task == "qa" else None
    asked = spec.derive(EvalSpec, model=name, task=task, instruction=instruction)
    return answered_run(asked, view, examples, root / ("eval" if task == "qa" else f"eval-{task}"))


def _outcomes(model: str, task: Task, metrics: pl.DataFrame) -> Iterator[dict[str, Any]]:
    for row in metrics.iter_rows(named=True):
        kind = ANSWER_METRICS[row["metric"]].kind
        if kind != "description":
            measured = {key: row[key] for key in ("metric", "value", "low", "high", "n")}
            yield {"model": model, "task": task, "kind": kind, **measured}


def _relations(scores: pl.DataFrame, outcomes: pl.DataFrame, seed: int) -> list[dict[str, Any]]:
    """Every score against one outcome (columns `model`, `outcome`), over the models that have it."""
    rows = []
    for about in scores.select("name", "statistic", "a", "b").unique(maintain_order=True).iter_rows(named=True):
        both = scores.filter(**about).join(outcomes, on="model", how="inner", maintain_order="left")
        if both.height >= 2:
            found = correlate(both["value"].to_numpy(), both["outcome"].to_numpy(), seed=seed)
            values = {key: getattr(found, key) for key in found.__slots__ if key != "n"}
            known = {key: None if np.isnan(value) else float(value) for key, value in values.items()}
            rows.append(about | known | {"models": found.n})
    return rows
