"""Audio Flamingo 3: a Whisper encoder over windows of half a minute, two linear layers; it does not see."""

from typing import Any

from chiasm.models.families.base import Family
from chiasm.models.families.templates import chatml


class AudioFlamingo3(Family):
    """One sound for each prompt, cut into windows that the encoder hears one by one (Goel et al. 2025)."""

    name = "audioflamingo3"
    model_types = ("audioflamingo3",)
    kind = "audio projector, windows, causal"
    casts_inputs = False
    fallback_template = chatml("'<sound>'")
    modalities = frozenset({"audio"})

    def max_audio_seconds(self, processor: Any) -> float:
        return processor.max_audio_len
