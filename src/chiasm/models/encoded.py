"""One example as the model takes it: inputs, spans, and where every image token looks."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from chiasm.core.spans import Spans


class ImageLayout(NamedTuple):
    """Where the tokens of one image lie on the sequence axis and in the original picture.

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


@dataclass(frozen=True, eq=False)
class Encoded:
    """An encoded example. `inputs` is a batch of one and is exactly what `view.model(**inputs)` accepts.

    `text` is the rendered prompt, `images` the decoded images in order; both allow encoding several examples together.
    `answer_tokens`: token ids teacher-forced after the prompt (empty unless asked for); their positions follow `last`.
    """

    example_id: str
    inputs: dict[str, Any]
    spans: Spans
    text: str
    images: tuple[Any, ...] = ()
    layouts: tuple[ImageLayout, ...] = ()
    answer_tokens: tuple[int, ...] = field(default=())

    @property
    def length(self) -> int:
        """Positions on the sequence axis."""
        return self.spans.length

    @property
    def input_ids(self) -> Tensor:
        return self.inputs["input_ids"]
