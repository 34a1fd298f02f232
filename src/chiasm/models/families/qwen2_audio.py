"""Qwen2-Audio: a Whisper-style encoder, a linear projector, a token for every 40 ms; it does not see."""

from typing import Any

from chiasm.models.families.base import Family

# As the processor itself writes it where a checkpoint has none.
CHATML_AUDIO = (
    "{% set audio = namespace(count=0) %}{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' }}{% for part in message['content'] %}"
    "{% if part['type'] == 'audio' %}{% set audio.count = audio.count + 1 %}"
    "{{ 'Audio ' ~ audio.count ~ ': <|audio_bos|><|AUDIO|><|audio_eos|>\n' }}"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


class Qwen2Audio(Family):
    """Log-mel spectrograms of at most half a minute, pooled by four (Chu et al. 2024)."""

    name = "qwen2_audio"
    model_types = ("qwen2_audio",)
    kind = "audio projector, causal"
    fallback_template = CHATML_AUDIO
    modalities = frozenset({"audio"})

    def max_audio_seconds(self, processor: Any) -> float:
        return processor.feature_extractor.n_samples / processor.feature_extractor.sampling_rate
