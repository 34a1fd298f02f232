"""Implicit alignment: do what a model sees and what it reads share a space, and how fast does either change?

Source: Shukor & Cord 2024, "Implicit Multimodal Alignment" (arXiv 2405.16700).
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.core.example import Example
from chiasm.core.groups import priority
from chiasm.measures.base import Price
from chiasm.measures.centres import PILOT
from chiasm.models.encoded import Encoded
from chiasm.models.observe import Batch
from chiasm.models.view import ModelView
from chiasm.results.align_schemas import NOISE_TOKENS
from chiasm.results.rundir import RunDirectory
from chiasm.results.schemas import TWIN
from chiasm.results.tables import Rows
from chiasm.runners import folded
from chiasm.runners.base import Computed
from chiasm.studies.align_spec import AlignSpec
from chiasm.studies.align_subject import Subject
from chiasm.studies.common import for_preparing

_MODEL = "model"


class Prepared(NamedTuple):
    """An example ready to compute. `twin`: the same for the control with random weights."""

    index: int
    example: Example
    encoded: Encoded
    twin: Encoded | None


class AlignWork(folded.Folding[Prepared]):
    """The measures of `spec` on `view`, and on its controls, added up over examples."""

    def __init__(self, spec: AlignSpec, view: ModelView, twin: ModelView | None = None) -> None:
        self.spec, self.view = spec, view
        self.twin = twin if spec.controls else None
        self.seconds = 0.0
        self.subjects = {_MODEL: Subject(spec, view)}
        if spec.controls:
            self.subjects[NOISE_TOKENS] = Subject(spec, view, noise=True)
        if self.twin is not None:
            self.subjects[TWIN] = Subject(spec, self.twin)
        self._preparing = for_preparing(view)
        self._preparing_twin = for_preparing(self.twin) if self.twin else None

    def pilot(self, examples: Sequence[Example]) -> dict[str, Price]:
        """The pilot pass, on those whose seeded hash is least; of the controls, of those that they are run on.

        Returns what measures cost on an example of the pilot; nothing if none could be used.
        """
        prices: dict[str, Price] = {}
        for kind, subject in self.subjects.items():
            among = examples if kind == _MODEL else examples[: self.spec.control_limit]
            chosen = sorted(among, key=lambda example: (priority(example.id, self.spec.seed), example.id))[:PILOT]
            encoded = []
            for example in chosen:
                # The run itself tells which examples cannot be used, and why.
                with suppress(ExampleError):
                    encoded.append(subject.view.encode(example, instruction=self.spec.instruction))
            subject.pilot(encoded)
            if kind == _MODEL and encoded:
                prices = subject.prices(encoded[0])
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
        batch = self.subjects[_MODEL].read(encoded)
        skipped = self._controls([item for item in prepared if item.index < self.spec.control_limit])
        self.seconds += time.perf_counter() - started
        failures = [(batch.ids[index], reason) for index, reason in sorted(batch.failures.items())]
        kept = len(prepared) - len(failures)
        return Computed({"extents": _extents(prepared, batch)} if kept else {}, failures, kept=kept, skipped=skipped)

    def state(self) -> Mapping[str, np.ndarray]:
        return {
            f"{kind}|{measure.name}|{key}": value
            for kind, subject in self.subjects.items()
            for measure in subject.measures
            for key, value in measure.state().items()
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        for kind, subject in self.subjects.items():
            for measure in subject.measures:
                prefix = f"{kind}|{measure.name}|"
                measure.restore({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})

    def tables(self) -> Mapping[str, Rows]:
        found: dict[str, list[dict[str, Any]]] = {}
        for kind, subject in self.subjects.items():
            for measure in subject.measures:
                for table, rows in measure.tables().items():
                    if kind == _MODEL:
                        found.setdefault(table, []).extend(rows)
                    else:
                        told = [row | {"control": kind} for row in rows]
                        found.setdefault(f"{table}_controls", []).extend(told)
        return found

    def _controls(self, items: Sequence[Prepared]) -> list[tuple[str, str]]:
        skipped = []
        if items and NOISE_TOKENS in self.subjects:
            batch = self.subjects[NOISE_TOKENS].read([item.encoded for item in items])
            skipped += [(batch.ids[k], f"{NOISE_TOKENS}: {reason}") for k, reason in batch.failures.items()]
        twins = [item.twin for item in items if item.twin is not None]
        if twins:
            batch = self.subjects[TWIN].read(twins)
            skipped += [(batch.ids[k], f"{TWIN}: {reason}") for k, reason in batch.failures.items()]
        return skipped


def run_align(
    spec: AlignSpec,
    view: ModelView,
    examples: Sequence[Example],
    directory: RunDirectory,
    twin: ModelView | None = None,
) -> None:
    """Fill `directory` with the tables of `spec`; what it already holds is not computed again.

    **Errors:** `ChiasmError` for an unknown span, or if no example is left or none has both kinds of span.
    """
    work = AlignWork(spec, view, twin)
    prices = work.pilot(examples)
    _tell_prices(prices)
    folded.run(work, examples, directory, spec.unit, "align")
    if directory.counts()["kept"] and "score" not in directory.tables():
        found = f"no example has a perceptual and a textual one among {', '.join(spec.span)}"
        raise ChiasmError("compare spans", found, "Name spans that the examples have, with --span")
    directory.manifest = directory.manifest | {
        "seconds": {"compute": round(work.seconds, 3)},
        "prices": {name: price._asdict() for name, price in prices.items()},
    }
    directory.finish()


def _tell_prices(prices: Mapping[str, Price]) -> None:
    """What each measure adds to a plain forward, in operations, and what it holds; only where someone watches."""
    console = Console(stderr=True)
    if not prices or not (console.is_terminal or console.is_jupyter):
        return
    forward = prices["forward"].operations
    told = ", ".join(
        f"{name} {100 * price.operations / forward:.1f} % and {price.bytes / 1e6:.0f} MB"
        for name, price in prices.items()
        if name != "forward"
    )
    console.print(f"Beside a plain forward: {told}.", style="dim")


def _extents(prepared: Sequence[Prepared], batch: Batch) -> list[dict[str, Any]]:
    return [
        {
            "example_id": batch.ids[segment.example],
            "type": prepared[segment.example].example.type,
            "span": segment.span,
            "tokens": segment.stop - segment.start,
        }
        for segment in batch.segments
        if batch.good(segment)
    ]
