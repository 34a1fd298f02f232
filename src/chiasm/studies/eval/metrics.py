"""From answers to measures: what the metrics say of a run, with intervals, in all and by type."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl

from chiasm.core.example import Example, input_key
from chiasm.data.metrics import Answered, Measure, estimate, fitting, measure, objects_for
from chiasm.data.sources import ENDLESS
from chiasm.results.rundir import RunDirectory
from chiasm.studies.eval.spec import EvalSpec

SHOWN = {"eval": "image", "blind": "blank"}
"""What stood before the question, by the table of the answers."""


def metrics_of(spec: EvalSpec, examples: Sequence[Example]) -> tuple[str, ...]:
    """The metrics of a run: those asked for, or those that fit its data."""
    return spec.metric or fitting(examples)


def write_metrics(spec: EvalSpec, examples: Sequence[Example], directory: RunDirectory) -> None:
    """Write the tables `metrics` and `scores` from the answers that `directory` holds.

    **Errors:** `ChiasmError` where the data lack what a metric needs.
    """
    by_id = {example.id: example for example in examples}
    scenes = "scenes" if spec.data in ENDLESS else None
    objects = objects_for(examples, spec.objects or scenes) if "chair" in metrics_of(spec, examples) else None
    values: list[dict[str, Any]] = []
    scores: list[dict[str, Any]] = []
    for table, shown in SHOWN.items():
        if table not in directory.tables():
            continue
        rows = directory.table(table)
        answered = [Answered(by_id[name], text) for name, text in rows.select("example_id", "generated").iter_rows()]
        measures: dict[str, Measure] = {}
        for name in metrics_of(spec, examples):
            measures |= {found.name: found for found in measure(name, answered, objects)}
        keys = [input_key(item.example) for item in answered]
        for found in measures.values():
            about = {"metric": found.name, "shown": shown}
            values += [about | row for row in _by_type(found, rows["type"], keys, spec.seed)]
            scores += [about | row for row in _each(found, rows)]
    directory.write_table("metrics", values)
    directory.write_table("scores", scores)


def _by_type(found: Measure, types: pl.Series, keys: Sequence[str], seed: int) -> Iterator[dict[str, Any]]:
    names = types.unique(maintain_order=True).to_list()
    groups = {"all": np.arange(len(types))}
    if len(names) > 1:
        groups |= {name: np.flatnonzero((types == name).to_numpy()) for name in names if name != "all"}
    for name, at in groups.items():
        part = Measure(found.name, found.parts[at], found.wholes[at])
        told = estimate(part, [keys[k] for k in at], seed=seed)
        if told is None:
            yield {"type": name, "value": None, "low": None, "high": None, "n": 0}
        else:
            low, high = (None if np.isnan(bound) else float(bound) for bound in (told.low, told.high))
            yield {"type": name, "value": float(told.mean), "low": low, "high": high, "n": told.n}


def _each(found: Measure, rows: pl.DataFrame) -> Iterator[dict[str, Any]]:
    pairs = zip(found.parts.tolist(), found.wholes.tolist(), strict=True)
    for (name, kind), (part, whole) in zip(rows.select("example_id", "type").iter_rows(), pairs, strict=True):
        yield {"example_id": name, "type": kind, "part": part, "whole": whole}
