"""Does the alignment score go with how well models answer? One score and one accuracy per model, and their relation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from chiasm.core.correlation import correlate
from chiasm.core.errors import ChiasmError
from chiasm.core.example import Example
from chiasm.core.statistics import proportion_interval
from chiasm.models.prompts import DEFAULT_INSTRUCTION
from chiasm.models.view import ModelView
from chiasm.results.rundir import RunDirectory
from chiasm.studies.align import run_align
from chiasm.studies.align_spec import DEFAULT_SPANS, AlignSpec
from chiasm.studies.eval import run_eval
from chiasm.studies.eval_spec import EvalSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareSpec:
    """One run of `chiasm align --compare`: the same examples, put to each of `models`."""

    models: tuple[str, ...]
    data: str
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
        _align_spec(self, self.models[0])  # says what is wrong with spans and sizes

    @property
    def model(self) -> str:
        """All of them, as the report names them."""
        return ", ".join(self.models)


def run_compare(
    spec: CompareSpec, load: Callable[[str], ModelView], examples: Sequence[Example], directory: RunDirectory
) -> None:
    """Fill `directory` with the tables `compare` and `correlation`; what is finished of a model is not repeated.

    Every model has runs of its own under `shards/models`, which are removed in the end. One model is in memory at a
    time.

    **Errors:** `ChiasmError` for a model that cannot be loaded, or on which no example is left.
    """
    rows: list[dict[str, Any]] = []
    for index, name in enumerate(spec.models):
        if index not in directory.done():
            found = _one(spec, load, name, examples, directory.path / "shards" / "models" / str(index))
            directory.write_shard(index, {"compare": found}, kept=max(row["n"] for row in found))
    directory.finish()
    table = directory.table("compare")
    for about in table.select("name", "statistic", "a", "b").unique(maintain_order=True).iter_rows(named=True):
        same = table.filter(pl.all_horizontal(pl.col(key) == value for key, value in about.items()))
        rows.append(about | _related(same["value"].to_numpy(), same["accuracy"].to_numpy(), spec.seed))
    directory.write_table("correlation", rows)


def _one(
    spec: CompareSpec, load: Callable[[str], ModelView], name: str, examples: Sequence[Example], root: Any
) -> list[dict[str, Any]]:
    """Score and accuracy of one model."""
    view = load(name)
    align = _align_spec(spec, name)
    answer = EvalSpec(
        model=name, data=spec.data, limit=spec.limit, split=spec.split, instruction=spec.instruction, unit=spec.unit
    )
    root.mkdir(parents=True, exist_ok=True)
    facts = {"asked": len(examples)}
    with RunDirectory.open(root / "align", align, resume=True, facts=facts) as scored:
        if not scored.complete:
            run_align(align, view, examples, scored)
    with RunDirectory.open(root / "eval", answer, resume=True, facts=facts) as answered:
        if not answered.complete:
            run_eval(answer, view, examples, answered)
    table = answered.table("eval")
    accuracy = proportion_interval(int(table["correct"].sum()), table.height)
    about = {
        "model": name,
        "accuracy": float(accuracy.mean),
        "accuracy_low": float(accuracy.low),
        "accuracy_high": float(accuracy.high),
    }
    return [row | about for row in scored.table("score").iter_rows(named=True)]


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
