"""SmolVLM: as Idefics3 with images; videos as frames with a time in words before each."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from chiasm.core.errors import ExampleError
from chiasm.models.encoded import ImageLayout
from chiasm.models.families.base import Medium
from chiasm.models.families.grids import cells, each_frame, original_canvas
from chiasm.models.families.idefics3 import Idefics3
from chiasm.models.families.templates import utterances


class SmolVLM(Idefics3):
    """Tiles for images, one stretched view for each frame (Marafioti et al. 2025)."""

    name = "smolvlm"
    model_types = ("smolvlm",)
    kind = "projector, tiles, frames, pixel shuffle, causal"
    fallback_template = utterances("<|im_start|>")
    modalities = frozenset({"image", "video"})
    one_prompt = True

    def frames(self, video: Medium, inputs: Mapping[str, Any], processor: Any, config: Any) -> tuple[ImageLayout, ...]:
        side = math.isqrt(processor.image_seq_len)
        return each_frame(video, cells(original_canvas(video), side, side), "frames", token=config.image_token_id)

    def frame_times(self, shown_at: Float[np.ndarray, " T"], fps: float, config: Any) -> list[float]:
        return [float(int(second)) for second in shown_at]

    def completed_inputs(self, raw: dict[str, Any], text: str, processor: Any, config: Any) -> dict[str, Any]:
        if str(processor.image_token) in text and str(processor.video_token) in text:
            raise ExampleError("its processor keeps the images or the videos of a prompt, not both")
        return raw
