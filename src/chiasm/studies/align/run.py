"""Implicit alignment: do what a model sees and what it reads share a space, and how fast does either change?

Source: Shukor & Cord 2024, "Implicit Multimodal Alignment" (arXiv 2405.16700).
"""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.core.example import Example, input_key
from chiasm.core.spans import is_perceptual
from chiasm.core.statistics.jackknife import priority
from chiasm.measures.base import Measure, MeasureCost
from chiasm.measures.centres import PILOT
from chiasm.models.encoding.encoded import Encoded
from chiasm.models.observe import Batch
from chiasm.models.view import ModelView
from chiasm.results.rundir import RunDirectory
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.results.tables import Rows
from chiasm.runners import folded
from chiasm.runners.base import Computed
from chiasm.studies.align.released import ReleasedMasks
from chiasm.studies.align.spec import AlignSpec
from chiasm.studies.align.subject import Subject
from chiasm.studies.align.tables import APART, NOISE_TOKENS
from chiasm.studies.common import for_preparing

_MODEL = "model"
_RELEASED = "released"
_TASKS = 8
"""Question types, the most frequent ones, that masks are compared between."""


class Prepared(NamedTuple):
    """An example ready to compute. `twin`: the same for the control with random weights."""

    index: int
    example: Example
    encoded: Encoded
    twin: Encoded | None


class AlignWork(folded.Folding[Prepared]):
    """The measures of `spec` on `view`, and on its controls, added up over examples."""

    def __init__(
        self,
        spec: AlignSpec,
        view: ModelView,
        twin: ModelView | None = None,
        task_of: Mapping[str, str] | None = None,
    ) -> None:
        self.spec, self.view = spec, view
        self.twin = twin if spec.controls else None
        self.seconds = 0.0
        self.left_out: dict[str, str] = {}
        self.both_kinds = False
        self.subjects = {_MODEL: Subject(spec, view, task_of=task_of)}
        self.released = ReleasedMasks(spec, view) if spec.as_released else None
        if spec.controls:
            self.subjects[NOISE_TOKENS] = Subject(spec, view, noise=True)
            blocks = view.n_layers // 2 if spec.apart is None else spec.apart
            if blocks:
                self.subjects[APART] = Subject(spec, view, apart=blocks)
        if self.twin is not None:
            self.subjects[RANDOM_WEIGHTS] = Subject(spec, self.twin, task_of=task_of)
        self._preparing = for_preparing(view)
        self._preparing_twin = for_preparing(self.twin) if self.twin else None

    def pilot(self, examples: Sequence[Example]) -> dict[str, MeasureCost]:
        """The pilot pass, on those whose seeded hash is least; of the controls, of those that they are run on.

        Returns what measures cost on an example of the pilot; nothing if none could be used.
        """
        prices: dict[str, MeasureCost] = {}
        for kind, subject in list(self.subjects.items()):
            among = examples if kind == _MODEL else examples[: self.spec.control_limit]
            chosen = sorted(among, key=lambda example: (priority(example.id, self.spec.seed), example.id))[:PILOT]
            encoded = []
            for example in chosen:
                # The run itself tells which examples cannot be used, and why.
                with suppress(ExampleError):
                    encoded.append(subject.view.encode(example, instruction=self.spec.instruction))
            try:
                subject.pilot(encoded)
            except ChiasmError as error:
                # Layers whose attention mask cannot be read (linear attention) cannot keep anything apart.
                if kind != APART:
                    raise
                del self.subjects[kind]
                self.left_out[kind] = str(error)
            if kind == _MODEL and encoded:
                prices = subject.prices(encoded[0])
                self.both_kinds = any(_has_both(item, self.spec.span) for item in encoded)
        return prices

    def prepare(self, index: int, example: Example) -> Prepared:
        encoded = self._preparing.encode(example, instruction=self.spec.instruction)
        twin = None
        if self._preparing_twin is not None and index < self.spec.control_limit:
            twin = self._preparing_twin.encode(example, instruction=self.spec.instruction)
        return Prepared(index, example, encoded, twin)

    def compute(self, prepared: Sequence[Prepared]) -> Computed:
        if not prepared:
            return Computed({})
        started = time.perf_counter()
        encoded = [item.encoded for item in prepared]
        batch = self.subjects[_MODEL].read(encoded, _units(prepared))
        skipped = self._controls([item for item in prepared if item.index < self.spec.control_limit])
        self.seconds += time.perf_counter() - started
        failures = [(batch.ids[index], reason) for index, reason in sorted(batch.failures.items())]
        kept = len(prepared) - len(failures)
        return Computed({"extents": _extents(prepared, batch)} if kept else {}, failures, kept=kept, skipped=skipped)

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

    def tables(self) -> Mapping[str, Rows]:
        found: dict[str, list[dict[str, Any]]] = {}
        for kind, subject in self.subjects.items():
            for table, rows in subject.tables().items():
                if kind == _MODEL:
                    found[table] = list(rows)
                else:
                    found.setdefault(f"{table}_controls", []).extend(row | {"control": kind} for row in rows)
        for measure in self.released.measures if self.released else ():
            found |= {f"{table}_released": list(rows) for table, rows in measure.tables().items()}
        return found

    @property
    def measures(self) -> Sequence[Measure]:
        """What was measured on the model itself."""
        return self.subjects[_MODEL].measures

    def _measures(self) -> Iterator[tuple[str, Measure]]:
        for kind, subject in self.subjects.items():
            yield from ((kind, measure) for measure in subject.measures)
        if self.released is not None:
            yield from ((_RELEASED, measure) for measure in self.released.measures)

    def _controls(self, items: Sequence[Prepared]) -> list[tuple[str, str]]:
        skipped = []
        if not items:
            return []
        for kind, subject in self.subjects.items():
            if kind != _MODEL:
                encoded = [item.encoded if item.twin is None else item.twin for item in items]
                batch = subject.read(
                    encoded if kind == RANDOM_WEIGHTS else [item.encoded for item in items], _units(items)
                )
                skipped += [(batch.ids[k], f"{kind}: {reason}") for k, reason in batch.failures.items()]
        if self.released is not None:
            self.released.read([item.encoded for item in items], _units(items))
        return skipped


def _units(prepared: Sequence[Prepared]) -> tuple[str, ...]:
    """What examples are drawn with: questions on one picture come together."""
    return tuple(input_key(item.example) for item in prepared)


def _tasks(examples: Sequence[Example]) -> dict[str, str]:
    """The task of each example, of the most frequent ones; nothing where there are not two."""
    often = [name for name, count in Counter(e.type for e in examples).most_common(_TASKS) if name and count > 1]
    return {e.id: e.type for e in examples if e.type in often} if len(often) > 1 else {}


def run_align(
    spec: AlignSpec,
    view: ModelView,
    examples: Sequence[Example],
    directory: RunDirectory,
    twin: ModelView | None = None,
) -> AlignWork:
    """Fill `directory` with the tables of `spec`; what it already holds is not computed again. Returns what was read.

    **Errors:** `ChiasmError` for an unknown span, or if no example is left or none has both kinds of span.
    """
    work = AlignWork(spec, view, twin, _tasks(examples) if spec.by_task else None)
    prices = work.pilot(examples)
    # All of fewer examples than a pilot has were in it, so what none of them has is known before the dear part.
    if prices and len(examples) <= PILOT and not work.both_kinds:
        raise _one_kind(spec)
    _tell_prices(prices)
    folded.run(work, examples, directory, spec.unit, "align")
    if directory.counts()["kept"] and "score" not in directory.tables():
        raise _one_kind(spec)
    directory.manifest = directory.manifest | {
        "seconds": {"compute": round(work.seconds, 3)},
        "prices": {name: price._asdict() for name, price in prices.items()},
        "controls_left_out": work.left_out,
    }
    directory.finish()
    return work


def _has_both(encoded: Encoded, spans: Sequence[str]) -> bool:
    present = [span for span in spans if span in encoded.spans and len(encoded.spans[span])]
    return len({is_perceptual(span) for span in present}) == 2


def _one_kind(spec: AlignSpec) -> ChiasmError:
    found = f"no example has a perceptual and a textual one among {', '.join(spec.span)}"
    return ChiasmError("compare spans", found, "Name spans that the examples have, with --span")


def _tell_prices(prices: Mapping[str, MeasureCost]) -> None:
    """What each measure adds to a plain forward, in operations, and what it holds, before that is paid."""
    if not prices:
        return
    forward = prices["forward"].operations
    told = ", ".join(
        f"{name} {100 * price.operations / forward:.1f} % and {price.bytes / 1e6:.0f} MB"
        for name, price in prices.items()
        if name != "forward"
    )
    whole = sum(price.operations for name, price in prices.items() if name != "forward") / forward
    line = f"Beside a plain forward: {told}; in all {100 * whole:.0f} % more operations, and the controls."
    Console(stderr=True, soft_wrap=True).print(line, style="dim")


def _extents(prepared: Sequence[Prepared], batch: Batch) -> list[dict[str, Any]]:
    return [
        {
            "example_id": batch.ids[segment.example],
            "type": prepared[segment.example].example.type,
            "span": segment.span,
            "tokens": segment.stop - segment.start,
        }
        for segment in batch.segments
        if batch.is_valid(segment)
    ]
