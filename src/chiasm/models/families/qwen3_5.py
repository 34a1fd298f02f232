"""Qwen3.5: as Qwen3-VL outside without DeepStack; most decoder layers are linear attention, a few attend."""

from typing import Any

import numpy as np
from jaxtyping import Float

from chiasm.models.families.qwen2_vl import Qwen2VL
from chiasm.models.families.qwen3_vl import written_times


class Qwen35(Qwen2VL):
    """Cuts act in the layers that attend; gated delta nets hand on what they like in between (Qwen Team 2026).

    Dense, or with experts in place of the feed-forward branch.
    """

    name = "qwen3_5"
    model_types = ("qwen3_5", "qwen3_5_moe")
    kind = "projector, native resolution, frames in pairs, hybrid of linear attention and attention, M-RoPE"

    def frame_times(self, shown_at: Float[np.ndarray, " T"], fps: float, config: Any) -> list[str]:
        return written_times(shown_at, config.vision_config.temporal_patch_size)
