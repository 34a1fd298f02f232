"""One example as the model takes it: inputs, spans, and the place of every image token in its image."""

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
from torch import Tensor

from chiasm.core.positions import Spans


class ImageLayout(NamedTuple):
    """Where the tokens of one image lie on the sequence axis and in the original image.

    `positions` (n) counts from the first token of the example. `rects` (n x 4: x0, y0, x1, y1) is in pixels of the
    original image and may reach outside it where the model pads; separator tokens have NaN there. `tile` (n) is
    "base" or "hd"; `newline` (n, bool) marks separators. `width`, `height`: the original image.
    """

    positions: np.ndarray
    rects: np.ndarray
    tile: np.ndarray
    newline: np.ndarray
    width: int
    height: int

    @property
    def has_places(self) -> bool:
        """Whether any token stands for a part of the image; queries read all of it."""
        return bool(np.isfinite(self.rects).all(axis=-1).any())


ROW_INPUTS: Final = frozenset(
    {"input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids", "position_ids", "cross_attention_mask"}
)
"""Inputs with one entry for each token. Shapes alone do not show which: a sound may have as many frames."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """An encoded example. `inputs` is a batch of one and is exactly what `view.model(**inputs)` accepts.

    `text` is the rendered prompt, `images` the decoded images in order; both allow encoding several examples together.
    `layouts`: the places of the tokens of each image; `frames`: the same for the frames of the videos, in order.
    `answer_tokens`: token ids teacher-forced after the prompt (empty unless asked for); their positions follow `last`.
    `unseen`: names of the objects of which no token sees anything, since the processor crops the image.
    """

    example_id: str
    inputs: dict[str, Any]
    spans: Spans
    text: str
    images: tuple[Any, ...] = ()
    layouts: tuple[ImageLayout, ...] = ()
    answer_tokens: tuple[int, ...] = field(default=())
    frames: tuple[ImageLayout, ...] = ()
    unseen: tuple[str, ...] = ()

    @property
    def length(self) -> int:
        """Positions on the sequence axis."""
        return self.spans.length

    @property
    def input_ids(self) -> Tensor:
        return self.inputs["input_ids"]
