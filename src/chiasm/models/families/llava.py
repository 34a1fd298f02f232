"""LLaVA-1.5: a CLIP tower, a two-layer projector, one token per patch."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from chiasm.interventions.projectors import spec_of
from chiasm.models.encoded import ImageLayout
from chiasm.models.families.base import Family, Medium
from chiasm.models.families.grids import make_layout, no_places, original_canvas, processed_canvas, rows_with_breaks
from chiasm.models.families.templates import VICUNA


class Llava(Family):
    """One token per patch of one resized and cropped image (Liu et al. 2023); Pixtral's tower takes any shape."""

    name = "llava"
    model_types = ("llava",)
    kind = "projector, causal"
    fallback_template = VICUNA
    projector_can_be_swapped = True
    reads_tower_states = True

    def layout(self, image: Medium, inputs: Mapping[str, Any], processor: Any, config: Any) -> ImageLayout:
        side = config.vision_config.patch_size
        if config.vision_config.model_type == "pixtral":
            return rows_with_breaks(image, inputs["image_sizes"][image.index], side)
        steps, canvas = processor.image_processor, original_canvas(image)
        if pads_to_square(steps):
            canvas = canvas.square()
        canvas = processed_canvas(canvas, steps)
        rows, columns = canvas.height // side, canvas.width // side
        projector = spec_of(config)
        if projector is not None and projector.by_queries:
            rects = no_places(projector.tokens)
        else:
            merged = 1 if projector is None else projector.stride or 1
            rects = canvas.cells(side * merged, rows=rows // merged, columns=columns // merged).reshape(-1, 4)
            rects = with_class_token(rects, len(image.positions))
        return make_layout(image, {"base": rects}, f"{rows} x {columns} patches")


def pads_to_square(image_processor: Any) -> bool:
    """LLaVA's own processor pads to a square where `do_pad` says so; CLIP's and SigLIP's have no such step."""
    return type(image_processor).__name__.startswith("LlavaImageProcessor") and bool(image_processor.do_pad)


def with_class_token(rects: np.ndarray, count: int) -> np.ndarray:
    """A tower's class token, kept by `vision_feature_select_strategy="full"`, comes first and looks at no patch."""
    return np.concatenate([no_places(1), rects]) if count == len(rects) + 1 else rects
