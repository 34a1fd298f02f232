"""Qwen3-VL: as Qwen2-VL outside; states of the vision tower are also added behind the first decoder layers."""

from chiasm.models.families.qwen2_vl import Qwen2VL


class Qwen3VL(Qwen2VL):
    """DeepStack, interleaved M-RoPE, times of frames as text between them (Qwen Team 2025); dense or with experts.

    What is added behind the first layers is part of the image's rows, so a cut that hides the image hides it too,
    and a token of the image that is read keeps it whatever is cut before.
    """

    name = "qwen3_vl"
    model_types = ("qwen3_vl", "qwen3_vl_moe")
    kind = "projector and DeepStack, native resolution, frames in pairs, causal, M-RoPE"
