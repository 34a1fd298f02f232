"""The figures of the alignment paper for one's own models: every model read once, and models of one decoder together.

Source: Shukor & Cord 2024 (arXiv 2405.16700), Figures 2, 3, 7, 8, 9, 13 and 22.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Example
from chiasm.core.statistics.intervals import proportion_interval
from chiasm.measures.base import Measure, NamedState, join_states, qualified_span
from chiasm.measures.geometry import Geometry
from chiasm.measures.overlap import Overlap, matrices_of
from chiasm.measures.registry import sampled
from chiasm.measures.similarity import Similarity
from chiasm.models.view import ModelView
from chiasm.results.rundir import RunDirectory
from chiasm.results.storage import whole_file
from chiasm.studies.align.run import run_align
from chiasm.studies.eval.run import run_eval
from chiasm.studies.eval.spec import EvalSpec
from chiasm.studies.paper.spec import PaperSpec, checkpoint, twins
from chiasm.studies.paper.tables import MEASURED, TASKS, TOGETHER, TOGETHER_TWINS

Load = Callable[[str], ModelView]
_KEPT = ("similarity", "geometry", "overlap")
"""Measures that say something across models of one decoder: what they keep outlives the model's run."""


def run_paper(spec: PaperSpec, load: Load, examples: Mapping[str, Sequence[Example]], directory: RunDirectory) -> None:
    """Fill `directory` with the tables of all models; what is finished of a model is not repeated.

    `examples`: by the names in `spec.data`. One model is in memory at a time. One that cannot be loaded, or on which
    no example is left, is recorded with the reason and the run goes on.

    **Errors:** `ChiasmError` if that is the first model.
    """
    for index in range(len(spec.models)):
        if index in directory.done():
            continue
        try:
            frames = _one(spec, index, load, examples[spec.data[index]], _place(directory, index))
        except ChiasmError as error:
            # The first one stands in every figure; without another, the rest can still be drawn.
            if index == 0:
                raise
            directory.write_shard(index, {}, failures=[(spec.models[index], str(error))])
            continue
        directory.write_shard(index, frames, kept=frames["paper_models"][0]["n"])
    models = directory.table("paper_models").to_dicts()
    chosen = _sharing(models, spec.twin)
    together = _together(spec, directory, load, {name: name for name in chosen}, TOGETHER)
    beside = twins(spec.twin, {model["model"]: model["data"] for model in models})
    controls = {name: beside[name] for name in chosen if name in beside}
    decoders = {model["decoder"] for model in models if model["model"] in controls.values()}
    if len(controls) == len(chosen) and len(decoders) == 1:
        for name, rows in _together(spec, directory, load, controls, TOGETHER_TWINS).items():
            together[name] += rows
    tables = {schema.name: directory.table(schema.name) for schema in MEASURED if schema.name in directory.tables()}
    directory.finish()
    for name, rows in together.items():
        directory.write_table(name, [*tables[name].to_dicts(), *rows])


def _place(directory: RunDirectory, index: int) -> Path:
    return directory.path / "shards" / "models" / str(index)


def _one(spec: PaperSpec, index: int, load: Load, examples: Sequence[Example], root: Path) -> dict[str, Any]:
    """All tables of one model, and its accuracy."""
    name = spec.models[index]
    view, align = load(name), spec.of(index)
    answer = EvalSpec(
        model=name, data=align.data, limit=spec.limit, split=spec.split, instruction=spec.instruction, unit=spec.unit
    )
    root.mkdir(parents=True, exist_ok=True)
    facts, sums = {"asked": len(examples)}, root / "sums.npz"
    # What the run keeps in memory alone is on disk once it is finished; stopped before, it is done again.
    finished = sums.exists()
    with RunDirectory.open(root / "align", align, resume=finished, fresh=not finished, facts=facts) as read:
        if not read.complete:
            _keep(sums, run_align(align, view, examples, read).measures)
    with RunDirectory.open(root / "eval", answer, resume=True, facts=facts) as answered:
        if not answered.complete:
            run_eval(answer, view, examples, answered)
    table = answered.table("eval")
    accuracy = proportion_interval(int(table["correct"].sum()), table.height)
    stem, step = checkpoint(name)
    about = {
        "model": name,
        "data": align.data,
        "decoder": _hash(view),
        "stem": stem,
        "step": step,
        "accuracy": float(accuracy.mean),
        "accuracy_low": float(accuracy.low),
        "accuracy_high": float(accuracy.high),
        "n": table.height,
    }
    found = {"paper_models": [about]}
    for schema in (*MEASURED, TASKS):
        measured = schema.name.removeprefix("paper_")
        if measured in read.tables():
            found[schema.name] = [{"model": name} | row for row in read.table(measured).to_dicts()]
    return found


def _keep(path: Path, measures: Sequence[Measure]) -> None:
    kept = {m.name: m.state() for m in measures if m.name in _KEPT}
    with whole_file(path) as file:
        np.savez(file, **{f"{name}|{key}": value for name, state in kept.items() for key, value in state.items()})


def _hash(view: ModelView) -> str:
    digest = hashlib.blake2b(digest_size=6)
    for name, value in sorted(view.layers.state_dict().items()):
        digest.update(name.encode() + value.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()


def _sharing(models: Sequence[Mapping[str, Any]], twin: Sequence[str]) -> list[str]:
    """Of the decoder that most kinds of data meet, the best model for each of them; none where only one meets it."""
    best: dict[str, dict[str, Mapping[str, Any]]] = {}
    for model in models:
        if model["model"] not in twin and model["step"] is None:
            kinds = best.setdefault(model["decoder"], {})
            if model["data"] not in kinds or kinds[model["data"]]["accuracy"] < model["accuracy"]:
                kinds[model["data"]] = model
    most = max(best.values(), key=len, default={})
    return [model["model"] for model in most.values()] if len(most) > 1 else []


def _together(
    spec: PaperSpec, directory: RunDirectory, load: Load, sources: Mapping[str, str], label: str
) -> dict[str, list[dict[str, Any]]]:
    """Rows across models of one decoder, under the name `label`; `sources`: the model behind the name in a span."""
    if not sources:
        return {}
    spans = tuple(qualified_span(span, name) for name in sources for span in spec.span)
    states: dict[str, list[NamedState]] = {measure: [] for measure in _KEPT}
    for name, source in sources.items():
        with np.load(_place(directory, spec.models.index(source)) / "sums.npz", allow_pickle=False) as file:
            for measure in _KEPT:
                prefix = f"{measure}|"
                kept = {key.removeprefix(prefix): file[key] for key in file.files if key.startswith(prefix)}
                states[measure].append((name, kept))
    view = load(next(iter(sources.values())))
    few, matrices = sampled(view.n_layers), matrices_of(view.layers)
    makers: dict[str, Callable[[], Measure]] = {
        "similarity": lambda: Similarity(spans, {}, inside=False),
        "geometry": lambda: Geometry(spans, few, seed=spec.seed),
        "overlap": lambda: Overlap(spans, matrices, seed=spec.seed),
    }
    rows: dict[str, list[dict[str, Any]]] = {}
    for measure, make in makers.items():
        for table, found in join_states(make, states[measure]).tables().items():
            if f"paper_{table}" in {schema.name for schema in MEASURED}:
                rows.setdefault(f"paper_{table}", []).extend({"model": label} | row for row in found)
    return rows
