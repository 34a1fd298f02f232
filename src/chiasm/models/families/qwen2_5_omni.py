"""Qwen2.5-Omni's thinker: images, videos and sounds before one decoder, their positions in time (TMRoPE)."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from chiasm.core.errors import ChiasmError
from chiasm.models.families.qwen2_5_vl import whole_steps
from chiasm.models.families.qwen2_vl import Qwen2VL
from chiasm.models.families.templates import chatml

# Marks around images and clips are called vision, those around sounds audio.
_MARKED = (
    "'<|' + ('audio' if part['type'] == 'audio' else 'vision') + '_bos|><|' + part['type'].upper() + '|><|'"
    " + ('audio' if part['type'] == 'audio' else 'vision') + '_eos|>'"
)


class Qwen25Omni(Qwen2VL):
    """The part that perceives and writes (Xu et al. 2025); the talker, which speaks, takes no part in an answer.

    A video's own sound is not taken with its frames: `load_audio_from_video`, which puts tokens of both in turns, is
    refused. A sound may be given beside a video.
    """

    name = "qwen2_5_omni"
    model_types = ("qwen2_5_omni_thinker", "qwen2_5_omni")
    kind = "projector, native resolution, frames in pairs, audio, causal, TMRoPE"
    fallback_template = chatml(_MARKED)
    modalities = frozenset({"image", "video", "audio"})
    # Before, its processor did not report where it wrote placeholders out.
    min_transformers = "5.23"

    def require(self, config: Any) -> None:
        if config.model_type == "qwen2_5_omni":
            raise ChiasmError(
                "follow Qwen2.5-Omni as a whole",
                "it is a thinker, which answers, and a talker, which reads the answer aloud",
                "Give the checkpoint's name or directory, or the model's `.thinker`",
            )

    def max_audio_seconds(self, processor: Any) -> float:
        return processor.feature_extractor.n_samples / processor.feature_extractor.sampling_rate

    def processor_prompt(self, text: str, processor: Any) -> str:
        if processor.load_audio_from_video:
            found = "the processor's `load_audio_from_video` is on, which puts tokens of frames and of sound in turns"
            raise ChiasmError("videos with their own sound", found, "Switch it off, and give the sound as `audio`")
        return text

    def frame_times(self, shown_at: Float[np.ndarray, " T"], fps: float, config: Any) -> list[float]:
        merged = config.vision_config.temporal_patch_size
        return whole_steps(len(shown_at), merged, fps, config.position_id_per_seconds)

    def completed_inputs(self, raw: dict[str, Any], text: str, processor: Any, config: Any) -> dict[str, Any]:
        """Its processor takes one rate for all clips of a prompt (2 where none is named), whatever they say."""
        merged = config.vision_config.temporal_patch_size
        if "video_metadata" not in raw:
            return raw
        return raw | {"video_second_per_grid": torch.tensor([merged / clip.fps for clip in raw["video_metadata"]])}
