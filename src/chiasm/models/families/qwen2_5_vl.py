"""Qwen2.5-VL: as Qwen2-VL outside, with windowed attention inside its vision tower."""

from chiasm.models.families.qwen2_vl import Qwen2VL


class Qwen25VL(Qwen2VL):
    """As Qwen2-VL to the decoder; only the tower attends in windows (Bai et al. 2025)."""

    name = "qwen2_5_vl"
    model_types = ("qwen2_5_vl",)
