"""Qwen3-VL: as Qwen2-VL outside; states of the vision tower are also added behind the first decoder layers."""

from typing import Any

import numpy as np
from jaxtyping import Float

from chiasm.models.families.qwen2_vl import Qwen2VL


class Qwen3VL(Qwen2VL):
    """DeepStack, interleaved M-RoPE, times of frames as text between them (Qwen Team 2025); dense or with experts.

    What is added behind the first layers is part of the image's rows, so a cut that hides the image hides it too,
    and a token of the image that is read keeps it whatever is cut before.
    """

    name = "qwen3_vl"
    model_types = ("qwen3_vl", "qwen3_vl_moe")
    kind = "projector and DeepStack, native resolution, frames in pairs, causal, M-RoPE"

    def frame_times(self, shown_at: Float[np.ndarray, " T"], fps: float, config: Any) -> list[str]:
        return written_times(shown_at, config.vision_config.temporal_patch_size)


def written_times(shown_at: Float[np.ndarray, " T"], merged: int) -> list[str]:
    """Times as the processor writes them before its frames: the middle between the first and last that it merges."""
    filled = np.append(shown_at, np.repeat(shown_at[-1:], -len(shown_at) % merged)).reshape(-1, merged)
    return [f"{(frames[0] + frames[-1]) / 2:.1f}" for frames in filled]
