"""Implicit alignment: do what a model sees and what it reads share a space, and how fast does either change?

Source: Shukor & Cord 2024, "Implicit Multimodal Alignment" (arXiv 2405.16700).
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Example
from chiasm.measures.base import Price, Sizes
from chiasm.measures.noise import NoiseTokens
from chiasm.measures.registry import Wanted, measures
from chiasm.models.encoded import Encoded
from chiasm.models.observe import Batch, Replacement, Seen, observe
from chiasm.models.sites import Block, find_blocks
from chiasm.models.view import ModelView
from chiasm.results.align_schemas import NOISE_TOKENS
from chiasm.results.rundir import RunDirectory
from chiasm.results.schemas import TWIN
from chiasm.results.tables import Rows
from chiasm.runners import folded
from chiasm.runners.base import Computed
from chiasm.studies.align_spec import AlignSpec
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
        kinds = [_MODEL, *([NOISE_TOKENS] if spec.controls else []), *([TWIN] if self.twin else [])]
        self.measures = {kind: measures(_wanted(spec)) for kind in kinds}
        self._preparing = for_preparing(view)
        self._preparing_twin = for_preparing(self.twin) if self.twin else None
        self._blocks: dict[str, tuple[Block, ...]] = {}

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
        batch = self._read(_MODEL, self.view, encoded)
        skipped = self._controls([item for item in prepared if item.index < self.spec.control_limit])
        self.seconds += time.perf_counter() - started
        failures = [(batch.ids[index], reason) for index, reason in sorted(batch.failures.items())]
        kept = len(prepared) - len(failures)
        return Computed({"extents": _extents(prepared, batch)} if kept else {}, failures, kept=kept, skipped=skipped)

    def state(self) -> Mapping[str, np.ndarray]:
        return {
            f"{kind}|{measure.name}|{key}": value
            for kind, made in self.measures.items()
            for measure in made
            for key, value in measure.state().items()
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        for kind, made in self.measures.items():
            for measure in made:
                prefix = f"{kind}|{measure.name}|"
                measure.restore({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})

    def tables(self) -> Mapping[str, Rows]:
        found: dict[str, list[dict[str, Any]]] = {}
        for kind, made in self.measures.items():
            for measure in made:
                for table, rows in measure.tables().items():
                    if kind == _MODEL:
                        found.setdefault(table, []).extend(rows)
                    else:
                        told = [row | {"control": kind} for row in rows]
                        found.setdefault(f"{table}_controls", []).extend(told)
        return found

    def prices(self, encoded: Encoded) -> dict[str, Price]:
        """What each measure costs on an example like `encoded`, and the plain forward under the name `forward`."""
        sizes = _sizes(self.view, self.spec, encoded)
        found = {"forward": Price(_forward_operations(self.view, encoded), 0.0)}
        return found | {measure.name: measure.price(sizes) for measure in self.measures[_MODEL]}

    def _controls(self, items: Sequence[Prepared]) -> list[tuple[str, str]]:
        skipped = []
        if items and NOISE_TOKENS in self.measures:
            encoded = [item.encoded for item in items]
            noise = self._read(NOISE_TOKENS, self.view, encoded, NoiseTokens(encoded, self.spec.seed))
            skipped += [(noise.ids[k], f"{NOISE_TOKENS}: {reason}") for k, reason in noise.failures.items()]
        twins = [item.twin for item in items if item.twin is not None]
        if twins and self.twin is not None:
            batch = self._read(TWIN, self.twin, twins)
            skipped += [(batch.ids[k], f"{TWIN}: {reason}") for k, reason in batch.failures.items()]
        return skipped

    def _read(
        self, kind: str, view: ModelView, encoded: Sequence[Encoded], replace: Replacement | None = None
    ) -> Batch:
        made = self.measures[kind]
        if kind not in self._blocks:
            self._blocks[kind] = find_blocks(view, encoded[0])

        def listen(seen: Seen) -> None:
            for measure in made:
                measure.see(seen)

        sites = frozenset().union(*(measure.sites() for measure in made))
        batch = observe(view, self._blocks[kind], encoded, self.spec.span, listen, sites=sites, replace=replace)
        for measure in made:
            measure.end(batch)
        return batch


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
    folded.run(work, examples, directory, spec.unit, "align")
    if directory.done() and not work.tables()["score"] and directory.counts()["kept"]:
        found = f"no example has a perceptual and a textual one among {', '.join(spec.span)}"
        raise ChiasmError("compare spans", found, "Name spans that the examples have, with --span")
    directory.manifest = directory.manifest | {"seconds": {"compute": round(work.seconds, 3)}}
    directory.finish()


def _wanted(spec: AlignSpec) -> Wanted:
    return Wanted(spec.span, as_released=spec.as_released)


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


def _sizes(view: ModelView, spec: AlignSpec, encoded: Encoded) -> Sizes:
    config = view.text_config
    tokens = {span: len(encoded.spans[span]) for span in spec.span if span in encoded.spans}
    return Sizes(
        layers=view.n_layers,
        width=view.width,
        inner=int(config.intermediate_size),
        vocabulary=int(config.vocab_size),
        tokens=tokens,
        sampled=min(view.n_layers + 1, 9),
    )


def _forward_operations(view: ModelView, encoded: Encoded) -> float:
    """Two operations per weight and token in the decoder layers; attention scores and the encoder come on top."""
    weights = sum(p.numel() for layer in view.layers for p in layer.parameters() if p.ndim > 1)
    return 2.0 * weights * encoded.length
