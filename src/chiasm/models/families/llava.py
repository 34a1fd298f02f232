"""LLaVA-1.5: a CLIP tower, a two-layer projector, one token per patch."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn

from chiasm.models.encoded import ImageLayout
from chiasm.models.families.base import Family, Placed, check_count, part
from chiasm.models.families.clip_steps import prepared
from chiasm.models.geometry import Canvas
from chiasm.models.projectors.spec import spec_of

# The prompt of Vicuna v1.1 as llava-hf writes it; the papers' released code adds Vicuna's system sentence.
VICUNA = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    "{% for part in message['content'] if part['type'] != 'text' %}{{ '<' + part['type'] + '>\n' }}{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] + ' ' }}{% endfor %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)


class Llava(Family):
    """One token per patch of one resized and cropped picture (Liu et al. 2023)."""

    name = "llava"
    model_types = ("llava",)
    kind = "projector, causal"
    fallback_template = VICUNA

    def layout(self, image: Placed, inputs: Mapping[str, Any], processor: Any, config: Any) -> ImageLayout:
        steps = processor.image_processor
        canvas = Canvas(image.width, image.height)
        if pads_to_square(steps):
            canvas = canvas.square()
        canvas = prepared(canvas, steps)
        side = config.vision_config.patch_size
        rows, columns = canvas.height // side, canvas.width // side
        projector = spec_of(config)
        if projector is not None and projector.by_queries:
            # Such tokens read the whole picture and look at no patch, as a class token.
            rects = np.full((projector.tokens, 4), np.nan)
        else:
            merged = 1 if projector is None else projector.stride or 1
            rects = canvas.cells(side * merged, rows=rows // merged, columns=columns // merged).reshape(-1, 4)
            rects = with_class_token(rects, len(image.positions))
        check_count(image, len(rects), f"{rows} x {columns} patches")
        count = len(rects)
        return ImageLayout(
            image.positions, rects, np.full(count, "base"), np.zeros(count, dtype=bool), image.width, image.height
        )

    def projector(self, model: nn.Module) -> nn.Module:
        return part(model, "multi_modal_projector")


def pads_to_square(image_processor: Any) -> bool:
    """LLaVA's own processor pads to a square where `do_pad` says so; CLIP's and SigLIP's have no such step."""
    return type(image_processor).__name__.startswith("LlavaImageProcessor") and bool(image_processor.do_pad)


def with_class_token(rects: np.ndarray, count: int) -> np.ndarray:
    """A tower's class token, kept by `vision_feature_select_strategy="full"`, comes first and looks at no patch."""
    return np.concatenate([np.full((1, 4), np.nan), rects]) if count == len(rects) + 1 else rects
