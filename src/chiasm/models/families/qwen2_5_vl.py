"""Qwen2.5-VL: as Qwen2-VL outside, with windowed attention inside its vision tower."""

import math
from typing import Any

import numpy as np
from jaxtyping import Float

from chiasm.models.families.qwen2_vl import Qwen2VL


class Qwen25VL(Qwen2VL):
    """As Qwen2-VL to the decoder; only the tower attends in windows (Bai et al. 2025)."""

    name = "qwen2_5_vl"
    model_types = ("qwen2_5_vl",)

    def frame_times(self, shown_at: Float[np.ndarray, " T"], fps: float, config: Any) -> list[float]:
        vision = config.vision_config
        return whole_steps(len(shown_at), vision.temporal_patch_size, fps, vision.tokens_per_second)


def whole_steps(frames: int, merged: int, fps: float, steps: float) -> list[float]:
    """Time as a position: so many whole `steps` to the second, the same for frames that one step holds."""
    return [float(int(part * steps * merged / fps)) for part in range(math.ceil(frames / merged))]
