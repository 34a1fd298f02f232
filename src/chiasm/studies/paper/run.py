"""The figures of the alignment paper for one's own models: every model read once, and models of one decoder together.

Source: Shukor & Cord 2024 (arXiv 2405.16700), Figures 2, 3, 7, 8, 9, 13 and 22.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Example, input_key
from chiasm.core.statistics.intervals import share_interval
from chiasm.measures.base import MeasureConfig, bound, join_states, qualified_span
from chiasm.measures.geometry import Geometry
from chiasm.measures.overlap import Overlap
from chiasm.measures.similarity import Similarity
from chiasm.models.view import ModelView
from chiasm.results.reasons import failed_in
from chiasm.results.rundir import RunDirectory
from chiasm.runners.driver import Computed, KeyedJob, Tracker, drive, one_by_one
from chiasm.studies.align import STUDY as ALIGN
from chiasm.studies.align.run import measure_align, saved_parts
from chiasm.studies.align.spec import AlignSpec
from chiasm.studies.eval.run import answered_run
from chiasm.studies.eval.spec import EvalSpec
from chiasm.studies.inputs import count_of, data_facts, is_endless, limit_of, read_examples, view_of
from chiasm.studies.options import Data, data_name
from chiasm.studies.paper import STUDY
from chiasm.studies.paper.spec import PaperSpec, baselines_beside, checkpoint
from chiasm.studies.paper.tables import MEASURED, TASKS, TOGETHER, TOGETHER_BASELINES
from chiasm.tiny.registry import BASE, RANDOM, names, world

_ENOUGH = 60
"""Examples of data without an end where no limit is given: every model reads them, and answers them."""
_TOWER = f"{BASE}@tower"
_TOGETHER = (Similarity, Geometry, Overlap)
"""Measures that say something across models of one decoder."""


def compute(spec: PaperSpec) -> RunDirectory:
    """The run of `spec`: what its directory already holds is not computed again.

    **Errors:** `ChiasmError` for a first model that cannot be loaded, or on which no example is left.
    """
    if spec.models is None:
        spec = spec.complete(models=embedded())
    if not spec.baselines:
        spec = spec.complete(baselines=tuple(name for name in spec.names if name.startswith(RANDOM)))
    data: list[Data] = [world(name) if spec.data is None else spec.data for name in spec.names]
    sources = [data_name(one) or "" for one in data]
    limit = limit_of(next(filter(is_endless, data), data[0]), spec.limit, _ENOUGH)
    spec = spec.complete(limit=limit, batch_size=spec.batch)
    examples = {source: read_examples(spec, one) for source, one in dict(zip(sources, data, strict=True)).items()}
    facts: dict[str, Any] = {
        "data": [data_facts(source, found) for source, found in examples.items()],  # by place: names may change
        "seed": spec.seed,
        "asked": sum(len(examples[source]) for source in sources),
    }
    return STUDY.completed(spec, facts, lambda directory: run_paper(spec, sources, examples, directory))


def count_examples(spec: PaperSpec) -> int:
    """How many examples the largest of its sources has, within --limit."""
    data: list[Data] = [world(name) if spec.data is None else spec.data for name in spec.names or embedded()]
    return max(
        count_of(spec, one, limit_of(one, spec.limit, _ENOUGH)) for one in {data_name(d): d for d in data}.values()
    )


def embedded() -> tuple[str, ...]:
    """All embedded models with a decoder, the finished one first, and a random baseline for each modality."""
    shown = (n for n in names() if n != _TOWER and (not n.startswith(f"{RANDOM}@") or world(n) != world(RANDOM)))
    return tuple(sorted(shown, key=lambda name: name != BASE))


def run_paper(
    spec: PaperSpec, sources: Sequence[str], examples: Mapping[str, Sequence[Example]], directory: RunDirectory
) -> None:
    """Fill `directory` with the tables of all models; what is finished of a model is not repeated.

    `sources`: what each model is asked about; `examples`: those of each source. A model that cannot be loaded, or on
    which no example is left, is recorded with the reason and the run goes on.

    **Errors:** `ChiasmError` if that is the first model.
    """

    sources, examples = _as_recorded(directory.manifest, sources, examples)

    def compute_model(index: int, tracker: Tracker) -> Computed:
        try:
            return _measured(spec, index, sources[index], examples[sources[index]], _nested(directory, index))
        except ChiasmError as error:
            # The first one stands in every figure; without another, the rest can still be drawn.
            if index == 0:
                raise
            return Computed({}, failures=[(spec.names[index], str(error))])

    jobs = [KeyedJob(index, index, name=name) for index, name in enumerate(spec.names)]
    drive(jobs, one_by_one(compute_model), directory, "paper", noun="models")
    directory.take_turn()
    models = directory.table("paper_models").to_dicts()
    chosen = _sharing(models, spec.baseline_names)
    together = _together(spec, directory, {name: name for name in chosen}, TOGETHER)
    beside = baselines_beside(spec.baseline_names, {model["model"]: model["data"] for model in models})
    controls = {name: beside[name] for name in chosen if name in beside}
    decoders = {model["decoder"] for model in models if model["model"] in controls.values()}
    if len(controls) == len(chosen) and len(decoders) == 1:
        for name, rows in _together(spec, directory, controls, TOGETHER_BASELINES).items():
            together[name] += rows
    directory.finish(together)


def _as_recorded(
    manifest: Mapping[str, Any], sources: Sequence[str], examples: Mapping[str, Sequence[Example]]
) -> tuple[Sequence[str], Mapping[str, Sequence[Example]]]:
    """The sources under the names that the run has for them: taken up, it may find the same data elsewhere."""
    recorded = [one["name"] for one in manifest["data"]] if isinstance(manifest.get("data"), list) else []
    if len(recorded) != len(examples) or len(set(recorded)) != len(recorded):
        return sources, examples
    named = dict(zip(examples, recorded, strict=True))
    return [named[source] for source in sources], {named[source]: found for source, found in examples.items()}


def _view(spec: PaperSpec, index: int) -> ModelView:
    assert spec.models is not None
    return view_of(spec.models[index], spec)


def _nested(directory: RunDirectory, index: int) -> Path:
    return directory.nested("models", index)


def _measured(spec: PaperSpec, index: int, source: str, examples: Sequence[Example], root: Path) -> Computed:
    """All tables of one model, and its accuracy."""
    name, view = spec.names[index], _view(spec, index)
    # The random-weights baseline is a model of its own here, so there are no controls.
    asked = spec.derive(AlignSpec, model=name, data=source, by_task=True, controls=False)
    # Left unfinished, so that what it added up is there when models are put together.
    with ALIGN.open(asked, {"asked": len(examples)}, root / "align") as read:
        measure_align(asked, view, examples, read)
    answered = answered_run(spec.derive(EvalSpec, model=name, data=source), view, examples, root / "eval")
    table = answered.table("eval")
    of_input = {example.id: input_key(example) for example in examples}
    accuracy = share_interval(
        table["correct"].to_numpy().astype(float), clusters=[of_input[one] for one in table["example_id"]]
    )
    stem, step = checkpoint(name)
    about = {
        "model": name,
        "data": source,
        "decoder": _hash(view),
        "stem": stem,
        "step": step,
        "accuracy": float(accuracy.mean),
        "accuracy_low": bound(accuracy.low),
        "accuracy_high": bound(accuracy.high),
        "n": table.height,
        "baseline": name in spec.baseline_names,
    }
    frames = {"paper_models": [about]}
    for schema in (*MEASURED, TASKS):
        measured = schema.name.removeprefix("paper_")
        if measured in read.tables():
            frames[schema.name] = [{"model": name} | row for row in read.table(measured).to_dicts()]
    failures = failed_in(name, read.failures(), answered.failures())
    return Computed(frames, failures, kept=len(examples) - len(failures))


def _hash(view: ModelView) -> str:
    digest = hashlib.blake2b(digest_size=6)
    for name, value in sorted(view.layers.state_dict().items()):
        digest.update(name.encode() + value.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()


def _sharing(models: Sequence[Mapping[str, Any]], baselines: Sequence[str]) -> list[str]:
    """Of the decoder that most kinds of data meet, the best model for each of them; none where only one meets it."""
    best: dict[str, dict[str, Mapping[str, Any]]] = {}
    for model in models:
        if model["model"] not in baselines and model["step"] is None:
            kinds = best.setdefault(model["decoder"], {})
            if model["data"] not in kinds or kinds[model["data"]]["accuracy"] < model["accuracy"]:
                kinds[model["data"]] = model
    most = max(best.values(), key=len, default={})
    return [model["model"] for model in most.values()] if len(most) > 1 else []


def _together(
    spec: PaperSpec, directory: RunDirectory, sources: Mapping[str, str], label: str
) -> dict[str, list[dict[str, Any]]]:
    """Rows across models of one decoder, under the name `label`; `sources`: the model behind the name in a span."""
    if not sources:
        return {}
    spans = tuple(qualified_span(span, name) for name in sources for span in spec.spans)
    roots = {name: _nested(directory, spec.names.index(source)) / "align" for name, source in sources.items()}
    view = _view(spec, spec.names.index(next(iter(sources.values()))))
    config = MeasureConfig(spans, view, centres={}, inside=False, seed=spec.seed)
    known = {schema.name for schema in MEASURED}
    rows: dict[str, list[dict[str, Any]]] = {}
    for kind in _TOGETHER:
        states = [(name, part) for name, root in roots.items() for part in saved_parts(root, kind.name)]
        for table, found in join_states(lambda kind=kind: kind.for_model(config), states).tables().items():
            if f"paper_{table}" in known:
                rows.setdefault(f"paper_{table}", []).extend({"model": label} | row for row in found)
    return rows
