"""Implicit alignment: do what a model sees and what it reads share a space, and how fast does either change?

Source: Shukor & Cord 2024, "Implicit Multimodal Alignment" (arXiv 2405.16700).
"""

import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from heapq import nsmallest
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.core.example import Example, input_key
from chiasm.core.spans import is_perceptual
from chiasm.core.statistics.jackknife import priority
from chiasm.data.sequences import all_without_media
from chiasm.measures.base import Measure, MeasureCost
from chiasm.measures.centres import PILOT
from chiasm.measures.parts import PARTS
from chiasm.models.encoded import Encoded
from chiasm.models.observe import Batch
from chiasm.models.support import require_able
from chiasm.models.view import ModelView
from chiasm.results.rundir import RunDirectory
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.results.tables import Rows
from chiasm.runners.accumulator import Accumulator, accumulate, saved_states
from chiasm.runners.driver import Computed
from chiasm.studies.align import STUDY
from chiasm.studies.align.measured_model import MeasuredModel, ReleasedMasks
from chiasm.studies.align.spec import AlignSpec
from chiasm.studies.align.tables import MODALITY_ISOLATION, NOISE_TOKENS, SAME_EXAMPLES
from chiasm.studies.inputs import for_preparing, load_inputs, random_models, read_examples, sized, with_defaults

_log = logging.getLogger("chiasm")
_MODEL = "model"
_RELEASED = "released"
_SAME = "same"
_CHEAP = ("norms", "drift", "score", "similarity", "geometry", "overlap")
"""What is read of further models with random weights: all contrasts but those of words, at a third of the price."""
_TASKS = 8
"""Question types, the most frequent ones, that masks are compared between."""


class AlignExample(NamedTuple):
    """An example ready to compute. `baseline`: the same for the control with random weights."""

    index: int
    example: Example
    encoded: Encoded
    baseline: Encoded | None


class AlignWork(Accumulator[AlignExample]):
    """The measures of `spec` on `view`, and on its controls, added up over examples."""

    def __init__(
        self,
        spec: AlignSpec,
        view: ModelView,
        baseline: ModelView | None = None,
        task_of: Mapping[str, str] | None = None,
    ) -> None:
        self.spec, self.view = spec, view
        self.baseline = baseline if spec.controls else None
        self.seconds = 0.0
        self.left_out: dict[str, str] = {}
        self.both_kinds = False
        self.models = {_MODEL: MeasuredModel(spec, view, task_of=task_of)}
        self.released = ReleasedMasks(spec, view) if spec.as_released else None
        if spec.controls:
            self.models[NOISE_TOKENS] = MeasuredModel(spec, view, noise=True)
            blocks = view.n_layers // 2 if spec.isolated_blocks is None else spec.isolated_blocks
            if blocks:
                self.models[MODALITY_ISOLATION] = MeasuredModel(spec, view, isolated_blocks=blocks)
        if self.baseline is not None:
            self.models[RANDOM_WEIGHTS] = MeasuredModel(spec, self.baseline, task_of=task_of)
            further = random_models(self.baseline, spec.baseline, spec.random_models)[1:]
            for number, one in enumerate(further, 1):
                self.models[_further(number)] = MeasuredModel(spec, one, only=_CHEAP)
        # What the model shows on the examples of its controls is kept apart: contrasts compare the same examples.
        self.same: tuple[Measure, ...] = ()
        self._preparing = for_preparing(view)
        self._preparing_baseline = for_preparing(self.baseline) if self.baseline else None

    def pilot(self, examples: Sequence[Example]) -> dict[str, MeasureCost]:
        """The pilot pass, on those whose seeded hash is least; of the controls, of those that they are run on.

        Returns what measures cost on an example of the pilot; nothing if none could be used.
        """
        prices: dict[str, MeasureCost] = {}
        for kind, model in list(self.models.items()):
            among = examples if kind == _MODEL else examples[: self.spec.control_limit]
            chosen = nsmallest(PILOT, among, key=lambda example: (priority(example.id, self.spec.seed), example.id))
            encoded = []
            for example in chosen:
                # The run itself records which examples cannot be used, and why.
                with suppress(ExampleError):
                    encoded.append(model.view.encode(example, instruction=self.spec.instruction))
            try:
                model.pilot(encoded)
            except ChiasmError as error:
                # Layers whose attention mask cannot be read (linear attention) cannot isolate the modalities.
                if kind != MODALITY_ISOLATION:
                    raise
                del self.models[kind]
                self.left_out[kind] = str(error)
            if kind == _MODEL and encoded:
                prices = model.prices(encoded[0])
                self.both_kinds = any(_has_both(item, self.spec.spans) for item in encoded)
        self.same = self.models[_MODEL].fresh() if len(self.models) > 1 or self.released is not None else ()
        return prices

    def prepare(self, index: int, example: Example) -> AlignExample:
        encoded = self._preparing.encode(example, instruction=self.spec.instruction)
        baseline = None
        if self._preparing_baseline is not None and index < self.spec.control_limit:
            baseline = self._preparing_baseline.encode(example, instruction=self.spec.instruction)
        return AlignExample(index, example, encoded, baseline)

    def compute(self, prepared: Sequence[AlignExample]) -> Computed:
        if not prepared:
            return Computed({})
        started = time.perf_counter()
        extents: list[dict[str, Any]] = []
        failures: list[tuple[str, str]] = []
        controlled = [item for item in prepared if self.same and item.index < self.spec.control_limit]
        rest = [item for item in prepared if item not in controlled]
        for items, measures in ((controlled, self.same), (rest, None)):
            if items:
                batch = self.models[_MODEL].read([item.encoded for item in items], _inputs(items), measures)
                failures += [(batch.ids[index], reason) for index, reason in sorted(batch.failures.items())]
                extents += _extents(items, batch, measures is not None)
        skipped = self._controls(controlled)
        self.seconds += time.perf_counter() - started
        kept = len(prepared) - len(failures)
        return Computed({"extents": extents} if kept else {}, failures, kept=kept, skipped=skipped)

    def state(self) -> Mapping[str, np.ndarray]:
        return {
            f"{kind}|{measure.name}|{key}": value
            for kind, measure in self._measures()
            for key, value in measure.state().items()
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        for kind, measure in self._measures():
            prefix = f"{kind}|{measure.name}|"
            measure.restore({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})

    def merge(self, state: Mapping[str, np.ndarray]) -> None:
        for kind, measure in self._measures():
            prefix = f"{kind}|{measure.name}|"
            measure.take_in({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})

    def tables(self) -> Mapping[str, Rows]:
        found: dict[str, list[dict[str, Any]]] = {}
        for kind, model in self.models.items():
            for table, rows in model.tables(self.measures if kind == _MODEL else None).items():
                if kind == _MODEL:
                    found[table] = list(rows)
                elif _is_further(kind):
                    sample = {"sample": int(kind.rpartition(" ")[2])}
                    if table == PARTS:
                        found.setdefault(f"{PARTS}_random", []).extend(row | sample for row in rows)
                else:
                    found.setdefault(f"{table}_controls", []).extend(row | {"control": kind} for row in rows)
        for measure in self.same:
            rows = [row | {"control": SAME_EXAMPLES} for row in measure.tables().get(PARTS, ())]
            found.setdefault(f"{PARTS}_controls", []).extend(rows)
        for measure in self.released.measures if self.released else ():
            found |= {f"{table}_released": list(rows) for table, rows in measure.tables().items()}
        return found

    @property
    def measures(self) -> Sequence[Measure]:
        """What was measured on the model itself."""
        model = self.models[_MODEL]
        return model.joined(self.same) if self.same else model.measures

    def _measures(self) -> Iterator[tuple[str, Measure]]:
        for kind, model in self.models.items():
            yield from ((kind, measure) for measure in model.measures)
        yield from ((_SAME, measure) for measure in self.same)
        if self.released is not None:
            yield from ((_RELEASED, measure) for measure in self.released.measures)

    def _controls(self, items: Sequence[AlignExample]) -> list[tuple[str, str]]:
        if not items:
            return []
        skipped = []
        own = [item.encoded for item in items]
        baseline = [item.encoded if item.baseline is None else item.baseline for item in items]
        for kind, model in self.models.items():
            if kind != _MODEL:
                random = kind == RANDOM_WEIGHTS or _is_further(kind)
                batch = model.read(baseline if random else own, _inputs(items))
                skipped += (
                    []
                    if _is_further(kind)
                    else [(batch.ids[k], f"{kind}: {reason}") for k, reason in batch.failures.items()]
                )
        if self.released is not None:
            self.released.read(own, _inputs(items))
        return skipped


def _further(number: int) -> str:
    return f"{RANDOM_WEIGHTS} {number}"


def _is_further(kind: str) -> bool:
    """Whether it is one more model with random weights beside the first."""
    return kind.startswith(f"{RANDOM_WEIGHTS} ")


def _inputs(prepared: Sequence[AlignExample]) -> tuple[str, ...]:
    """What examples are drawn with: questions on one image come together."""
    return tuple(input_key(item.example) for item in prepared)


def _tasks(examples: Sequence[Example]) -> dict[str, str]:
    """The task of each example, of the most frequent ones; nothing where there are not two."""
    counted = Counter(e.type for e in all_without_media(examples)).most_common(_TASKS)
    often = [name for name, count in counted if name and count > 1]
    return {e.id: e.type for e in all_without_media(examples) if e.type in often} if len(often) > 1 else {}


def compute(spec: AlignSpec) -> RunDirectory:
    """The run of `spec`: what its directory already holds is not computed again.

    **Errors:** `ChiasmError` for an unknown span, or if no example is left or none has both kinds of span.
    """
    asked, spec = spec, with_defaults(spec)
    inputs = load_inputs(spec, read_examples(spec, spec.data))
    spec = sized(spec, asked, inputs)
    return STUDY.completed(
        spec, inputs.facts, lambda directory: run_align(spec, inputs.view, inputs.examples, directory, inputs.baseline)
    )


def run_align(
    spec: AlignSpec,
    view: ModelView,
    examples: Sequence[Example],
    directory: RunDirectory,
    baseline: ModelView | None = None,
) -> AlignWork:
    """Fill `directory` with the tables of `spec`; what it already holds is not computed again. Returns what was read.

    **Errors:** `ChiasmError` for an unknown span, or if no example is left or none has both kinds of span.
    """
    work = measure_align(spec, view, examples, directory, baseline)
    directory.finish()
    return work


def measure_align(
    spec: AlignSpec,
    view: ModelView,
    examples: Sequence[Example],
    directory: RunDirectory,
    baseline: ModelView | None = None,
) -> AlignWork:
    """`run_align` without its end: what was added up stays in `directory` too, for `saved_parts`.

    **Errors:** as of `run_align`.
    """
    require_able(view.family, "align", "`chiasm check` on it shows what holds")
    work = AlignWork(spec, view, baseline, _tasks(examples) if spec.by_task else None)
    prices = work.pilot(examples)
    # All of fewer examples than a pilot has were in it, so what none of them has is known before the dear part.
    if prices and len(examples) <= PILOT and not work.both_kinds:
        raise _one_kind(spec)
    _report_prices(prices)
    accumulate(work, examples, directory, spec.batch, "align")
    if directory.counts()["kept"] and "score" not in directory.tables():
        raise _one_kind(spec)
    directory.require_rows()
    directory.manifest = directory.manifest | {
        "seconds": {"compute": round(work.seconds, 3)},
        "prices": {name: price._asdict() for name, price in prices.items()},
        "controls_left_out": work.left_out,
    }
    return work


def saved_parts(path: Path, measure: str) -> list[dict[str, np.ndarray]]:
    """What a measure has read of the model itself, in the run in `path`, which is not finished, part by part."""
    return saved_states(path, f"{_MODEL}|{measure}|")


def _has_both(encoded: Encoded, spans: Sequence[str]) -> bool:
    present = [span for span in spans if span in encoded.spans and len(encoded.spans[span])]
    return len({is_perceptual(span) for span in present}) == 2


def _one_kind(spec: AlignSpec) -> ChiasmError:
    found = f"no example has a perceptual and a textual one among {', '.join(spec.spans)}"
    return ChiasmError("compare spans", found, "Name spans that the examples have, with --span")


def _report_prices(prices: Mapping[str, MeasureCost]) -> None:
    """What each measure adds to a plain forward, in operations, and what it holds, before that is paid."""
    if not prices:
        return
    forward = prices["forward"].operations
    each = ", ".join(
        f"{name} {100 * price.operations / forward:.1f} % and {price.bytes / 1e6:.0f} MB"
        for name, price in prices.items()
        if name != "forward"
    )
    whole = sum(price.operations for name, price in prices.items() if name != "forward") / forward
    _log.info("Beside a plain forward: %s; in all %.0f %% more operations, and the controls.", each, 100 * whole)


def _extents(prepared: Sequence[AlignExample], batch: Batch, controlled: bool) -> list[dict[str, Any]]:
    return [
        {
            "example_id": batch.ids[segment.example],
            "type": prepared[segment.example].example.type,
            "span": segment.span,
            "tokens": segment.stop - segment.start,
            "input": batch.units[segment.example],
            "controlled": controlled,
        }
        for segment in batch.segments
        if batch.is_valid(segment)
    ]
