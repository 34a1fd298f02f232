"""Pictures, clips and sounds of noise, and questions about them."""

from typing import Any

import numpy as np
from PIL import Image

from chiasm.core.errors import ExampleError
from chiasm.core.example import Box, Example
from chiasm.core.media import Clip, Sound
from chiasm.models.encoding.encoded import Encoded
from chiasm.models.view import ModelView

_QUESTIONS = (
    "What colour is the left half of it?",
    "Is there anything here?",
    "Which of the two is larger, the upper or the lower part of it?",
)
_SIZES = ((240, 180), (130, 250))  # wide, tall
_FRAMES, _RATE = 4, 16_000
_SECONDS = (0.5, 0.8)
_FIELDS = {"image": "images", "video": "videos", "audio": "audios"}


def kinds_of(view: ModelView) -> list[str]:
    """What the family takes besides text, pictures first."""
    return [kind for kind in _FIELDS if kind in view.family.modalities]


def noise(kind: str, seed: int) -> Any:
    """One picture, clip or sound; those of seed 0 and 1 differ in shape or length."""
    rng = np.random.default_rng(seed)
    width, height = _SIZES[seed % 2]
    if kind == "image":
        return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
    if kind == "video":
        return Clip(rng.integers(0, 256, (_FRAMES, height, width, 3), dtype=np.uint8), fps=2.0)
    samples = rng.uniform(-0.9, 0.9, int(_SECONDS[seed % 2] * _RATE))
    return Sound(samples.astype(np.float32), _RATE)


def asked(kind: str, media: tuple[Any, ...], question: int = 0) -> Example:
    """One of three questions, of different length, about `media` of one kind."""
    box = {"boxes": (Box("part", 10, 20, 60, 50),)} if kind == "image" else {}
    return Example(id=f"check-{kind}-{question}", question=_QUESTIONS[question], **{_FIELDS[kind]: media}, **box)


def three(view: ModelView, kind: str) -> tuple[Encoded, Encoded, Encoded]:
    """Two questions on one input, and one on another of a different shape.

    **Errors:** `ExampleError`, `ChiasmError` for what this model cannot take.
    """
    one, other = noise(kind, 0), noise(kind, 1)
    given = ((one, 0), (one, 1), (other, 2))
    first, second, third = (view.encode(asked(kind, (media,), question)) for media, question in given)
    for encoded in (first, second, third):
        if not len(encoded.spans[kind]):
            raise ExampleError(f"the span `{kind}` of an example with such an input is empty")
    return first, second, third
