"""One model that an alignment run reads, with everything that is measured on it, and masks as released."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from chiasm.core.spans import PERCEPTUAL, is_perceptual
from chiasm.core.statistics.jackknife import priority
from chiasm.measures.base import Measure, MeasureConfig, MeasureCost, ReadSizes, RowsByTable, sampled
from chiasm.measures.centres import Pilot
from chiasm.measures.overlap import Overlap, matrices_of
from chiasm.measures.registry import measures
from chiasm.models.encoded import Encoded
from chiasm.models.hooks import SITES, Block, find_blocks
from chiasm.models.observe import (
    Batch,
    ModalityIsolation,
    SiteStates,
    StatesCallback,
    bos_embedding,
    decoder_inputs,
    observe,
    observe_padded,
)
from chiasm.models.view import ModelView
from chiasm.studies.align.spec import AlignSpec


class MeasuredModel:
    """The model, or a control of it, and its measures.

    `noise`: random tokens stand where the image's were. `isolated_blocks`: so many first blocks have no attention
    between the modalities. `task_of`: the task of an example, where masks are asked for by task. `only`: the names of
    the measures that are read; None: all.
    """

    def __init__(
        self,
        spec: AlignSpec,
        view: ModelView,
        *,
        noise: bool = False,
        isolated_blocks: int = 0,
        task_of: Mapping[str, str] | None = None,
        only: Collection[str] | None = None,
    ) -> None:
        self.only = only
        self.spec, self.view, self.noise, self.isolated_blocks = spec, view, noise, isolated_blocks
        self.task_of = task_of or {}
        self._pilot = Pilot()
        self._blocks: tuple[Block, ...] = ()
        self.measures = self._fresh_measures()

    def pilot(self, encoded: Sequence[Encoded]) -> None:
        """Find what is subtracted and left out before cosines are taken. Forgets what was measured before."""
        self._pilot = Pilot()
        sites = frozenset(SITES) if self.spec.inside else frozenset({"residual"})
        for start in range(0, len(encoded), self.spec.batch):
            self._pilot.end_batch(self._observe(encoded[start : start + self.spec.batch], self._pilot.update, sites))
        self.measures = self._fresh_measures()

    def read(
        self, encoded: Sequence[Encoded], units: Sequence[str], measures: Sequence[Measure] | None = None
    ) -> Batch:
        """Measure a batch. `units`: what each example is drawn with (its input). `measures`: where not its own."""
        reading = self.measures if measures is None else measures

        def update(seen: SiteStates) -> None:
            for measure in reading:
                if seen.site in measure.sites():
                    measure.update(seen)

        sites = frozenset().union(*(measure.sites() for measure in reading))
        batch = self._observe(encoded, update, sites, reading)
        batch.units = tuple(units)
        for measure in reading:
            measure.end_batch(batch)
        return batch

    def fresh(self) -> tuple[Measure, ...]:
        """Measures like its own, which have read nothing yet."""
        return self._fresh_measures()

    def joined(self, measures: Sequence[Measure]) -> tuple[Measure, ...]:
        """Measures like its own, which have read what they and `measures` have."""
        joined = self.fresh()
        for measure, own, more in zip(joined, self.measures, measures, strict=True):
            measure.restore(own.state())
            measure.merge(more)
        return joined

    def tables(self, measures: Sequence[Measure] | None = None) -> RowsByTable:
        """All that was measured, and which dimensions the variant without outliers leaves out."""
        found: dict[str, list[dict[str, Any]]] = {"outliers": self._pilot.rows()}
        for measure in self.measures if measures is None else measures:
            for table, rows in measure.tables().items():
                found.setdefault(table, []).extend(rows)
        return found

    def prices(self, encoded: Encoded) -> dict[str, MeasureCost]:
        """What each measure costs on an example like `encoded`, and the plain forward under the name `forward`."""
        config = self.view.text_config
        spans = self.spec.spans
        sizes = ReadSizes(
            layers=self.view.n_layers,
            width=self.view.width,
            inner=max(m.in_features for block in self._blocks for m in block.matrices()),
            vocabulary=int(config.vocab_size),
            tokens={span: len(encoded.spans[span]) for span in spans if span in encoded.spans},
            sampled=len(sampled(self.view.n_layers)),
        )
        # Two operations per weight and token; attention scores and the encoder come on top.
        weights = sum(p.numel() for layer in self.view.layers for p in layer.parameters() if p.ndim > 1)
        found = {"forward": MeasureCost(2.0 * weights * encoded.length, 0.0)}
        return found | {measure.name: measure.cost(sizes) for measure in self.measures}

    def _observe(
        self,
        encoded: Sequence[Encoded],
        on_states: StatesCallback,
        sites: frozenset[str],
        measures: Sequence[Measure] = (),
    ) -> Batch:
        self._blocks = self._blocks or find_blocks(self.view, encoded[0])
        reading = [measure for measure in measures if measure.needs_inputs]

        def update_inputs(layer: int, names: tuple[str, ...], batch: Batch, x: Float[Tensor, "N I"]) -> None:
            for measure in reading:
                measure.update_inputs(layer, names, batch, x)

        return observe(
            self.view,
            self._blocks,
            encoded,
            tuple(self.spec.spans),
            on_states,
            sites=sites,
            on_inputs=update_inputs if reading else None,
            replace=NoiseTokens(list(encoded), self.spec.seed) if self.noise else None,
            isolation=ModalityIsolation(PERCEPTUAL, self.isolated_blocks) if self.isolated_blocks else None,
        )

    def _fresh_measures(self) -> tuple[Measure, ...]:
        spec = self.spec
        config = MeasureConfig(
            tuple(spec.spans),
            self.view,
            self._pilot.centres(),
            vocabulary_tokens=spec.vocabulary_tokens,
            as_released=spec.as_released,
            inside=spec.inside,
            token_pairs=spec.token_pairs,
            maps=self.only is None,
            task_of=self.task_of,
            seed=spec.seed,
        )
        found = measures(config)
        return found if self.only is None else tuple(one for one in found if one.name in self.only)


class NoiseTokens:
    """Puts tokens with uniformly random entries in the place of every perceptual token as it enters the decoder.

    Each keeps the norm of the token it replaces, so that what differs is what it says and not how large it is. The
    draw depends on `seed` and the example alone. Source: Shukor & Cord 2024, released code (`noise_modality`), there
    with entries of fixed range.
    """

    def __init__(self, encoded: list[Encoded], seed: int) -> None:
        self.encoded, self.seed = encoded, seed

    def __call__(self, states: Float[Tensor, "B T D"], padding: list[int]) -> Float[Tensor, "B T D"]:
        changed = states.clone()
        for row, (item, before) in enumerate(zip(self.encoded, padding, strict=True)):
            generator = torch.Generator().manual_seed(priority(item.example_id, self.seed))
            for span in PERCEPTUAL:
                if span not in item.spans or not len(item.spans[span]):
                    continue
                at = torch.from_numpy(item.spans[span] + before).to(states.device)
                own = states[row, at].to(torch.float32)
                drawn = (torch.rand(own.shape, generator=generator) * 2 - 1).to(states.device)
                scale = torch.linalg.vector_norm(own, dim=-1) / torch.linalg.vector_norm(drawn, dim=-1)
                changed[row, at] = (drawn * scale[:, None]).to(states.dtype)
        return changed


class ReleasedMasks:
    """The released form of the table `overlap`: perceptual tokens and text never meet, and both rest on padding.

    The token that begins a sequence stands behind perceptual tokens and before text, as in the released prompts.

    Source: code of Shukor & Cord 2024, `wanda_mm.py`, lines 129-160, and the calibration modes `only_prompt` and
    `only_text`. Assumption: the decoder takes embeddings as they enter its first block (Llama, OPT and their like).
    """

    def __init__(self, spec: AlignSpec, view: ModelView) -> None:
        self.spec, self.view = spec, view
        self.measures = (Overlap(tuple(spec.spans), matrices_of(view.layers), seed=spec.seed),)
        self._blocks: tuple[Block, ...] = ()

    def read(self, encoded: Sequence[Encoded], units: Sequence[str]) -> None:
        """Measure examples, one by one."""
        (measure,) = self.measures
        for item, unit in zip(encoded, units, strict=True):
            self._blocks = self._blocks or find_blocks(self.view, item)
            hidden, first = decoder_inputs(self.view, item.inputs), bos_embedding(self.view)
            for span in self.spec.spans:
                if span in item.spans and len(item.spans[span]):
                    at = torch.from_numpy(item.spans[span]).to(hidden.device)
                    parts = (hidden[at], first.to(hidden))
                    rows = torch.cat(parts if is_perceptual(span) else parts[::-1])
                    batch = observe_padded(self.view, self._blocks, item.example_id, span, rows, self._update)
                    batch.units = (unit,)
                    measure.end_batch(batch)

    def _update(self, layer: int, names: tuple[str, ...], batch: Batch, x: Float[Tensor, "N I"]) -> None:
        self.measures[0].update_inputs(layer, names, batch, x)
