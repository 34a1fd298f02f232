"""Masks of either span as the released code finds them: each span alone, padded, the padding counted."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from chiasm.measures.overlap import Overlap, matrices_of
from chiasm.models.encoding.encoded import Encoded
from chiasm.models.observe import Batch, bos_embedding, decoder_inputs, observe_padded
from chiasm.models.hooks import Block, find_blocks
from chiasm.models.view import ModelView
from chiasm.studies.align.spec import AlignSpec


class ReleasedMasks:
    """The released form of the table `overlap`: perceptual tokens and text never meet, and both rest on padding.

    Source: code of Shukor & Cord 2024, `wanda_mm.py`, lines 129-160, and the calibration modes `only_prompt` and
    `only_text`. Assumption: the decoder takes embeddings as they enter its first block (Llama, OPT and their like).
    """

    def __init__(self, spec: AlignSpec, view: ModelView) -> None:
        self.spec, self.view = spec, view
        self.measures = (Overlap(spec.span, matrices_of(view.layers), seed=spec.seed),)
        self._blocks: tuple[Block, ...] = ()

    def read(self, encoded: Sequence[Encoded], units: Sequence[str]) -> None:
        """Measure examples, one by one."""
        (measure,) = self.measures
        for item, unit in zip(encoded, units, strict=True):
            if not self._blocks:
                self._blocks = find_blocks(self.view, item)
            hidden, first = decoder_inputs(self.view, item.inputs), bos_embedding(self.view)
            for span in self.spec.span:
                if span in item.spans and len(item.spans[span]):
                    at = torch.from_numpy(item.spans[span]).to(hidden.device)
                    rows = torch.cat([hidden[at], first.to(hidden)])
                    batch = observe_padded(self.view, self._blocks, item.example_id, span, rows, self._hear)
                    batch.units = (unit,)
                    measure.end_batch(batch)

    def _hear(self, layer: int, names: tuple[str, ...], batch: Batch, x: Float[Tensor, "N I"]) -> None:
        self.measures[0].update_inputs(layer, names, batch, x)
