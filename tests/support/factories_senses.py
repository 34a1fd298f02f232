"""Small models that watch videos or listen, with real processors; and noise for them to perceive."""

import numpy as np
from tests.support.factories_kinds import PATCH, SIDE, SIGLIP, SQUARE, Maker
from tests.support.factories_projectors import clip_tower
from tests.support.small import VOCAB, text_config
from tests.support.tokenizers import VICUNA_TEMPLATE, named_tokenizer
from transformers import (
    AudioFlamingo3Config,
    AudioFlamingo3ForConditionalGeneration,
    AudioFlamingo3Processor,
    LlamaConfig,
    LlavaNextImageProcessorPil,
    LlavaNextVideoConfig,
    LlavaNextVideoForConditionalGeneration,
    LlavaNextVideoProcessor,
    LlavaNextVideoVideoProcessor,
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    LlavaOnevisionImageProcessorPil,
    LlavaOnevisionProcessor,
    LlavaOnevisionVideoProcessor,
    PreTrainedModel,
    ProcessorMixin,
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    Qwen2AudioProcessor,
    WhisperFeatureExtractor,
)

from chiasm.core.media import Clip, Sound
from chiasm.models.families.audioflamingo3 import AudioFlamingo3
from chiasm.models.families.llava_onevision import LlavaOnevision
from chiasm.models.families.qwen2_audio import CHATML_AUDIO

_SIDE, _PATCH = 28, 7
_SIZES = {"size": {"shortest_edge": _SIDE}, "crop_size": {"height": _SIDE, "width": _SIDE}}
_PINPOINTS = [[28, 56], [56, 28], [56, 56]]
RATE = 16000
_BINS, _MEL_FRAMES = 8, 100  # a mel frame every 10 ms of one second


def clip(rng: np.random.Generator, frames: int, width: int, height: int) -> Clip:
    """Uniform noise: no two frames are alike."""
    return Clip(rng.integers(0, 256, (frames, height, width, 3), dtype=np.uint8), 4.0)


def sound(rng: np.random.Generator, seconds: float) -> Sound:
    """White noise, a little quieter than the loudest."""
    return Sound(rng.uniform(-0.5, 0.5, round(seconds * RATE)).astype(np.float32), RATE)


def _llava_next_video(processor: ProcessorMixin, layers: int) -> PreTrainedModel:
    config = LlavaNextVideoConfig(
        vision_config=clip_tower(),
        text_config=LlamaConfig(**text_config(processor, layers)),
        image_token_index=processor.image_token_id,
        video_token_index=processor.video_token_id,
        image_grid_pinpoints=_PINPOINTS,
        image_seq_length=(_SIDE // _PATCH) ** 2,
    )
    return LlavaNextVideoForConditionalGeneration(config)


def _llava_next_video_processor() -> ProcessorMixin:
    return LlavaNextVideoProcessor(
        video_processor=LlavaNextVideoVideoProcessor(**_SIZES),
        image_processor=LlavaNextImageProcessorPil(**_SIZES, image_grid_pinpoints=_PINPOINTS),
        tokenizer=named_tokenizer(VOCAB - 4, {"image_token": "<image>", "video_token": "<video>"}, first=True),
        patch_size=_PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=VICUNA_TEMPLATE.replace("== 'image' %}{{ '<image>", "!= 'text' %}{{ '<' + part['type'] + '>"),
    )


def _llava_onevision(processor: ProcessorMixin, layers: int) -> PreTrainedModel:
    config = LlavaOnevisionConfig(
        vision_config={"model_type": "siglip_vision_model", **SIGLIP},
        text_config={"model_type": "qwen2", **text_config(processor, layers)},
        image_token_index=processor.image_token_id,
        video_token_index=processor.video_token_id,
        image_grid_pinpoints=_PINPOINTS,
        vision_aspect_ratio="anyres_max_2",
    )
    return LlavaOnevisionForConditionalGeneration(config)


def _llava_onevision_processor() -> ProcessorMixin:
    return LlavaOnevisionProcessor(
        LlavaOnevisionImageProcessorPil(size=SQUARE, image_grid_pinpoints=_PINPOINTS),
        named_tokenizer(
            VOCAB - 4, {"image_token": "<image>", "video_token": "<video>"}, ("<|im_start|>", "<|im_end|>")
        ),
        LlavaOnevisionVideoProcessor(size=SQUARE),
        num_image_tokens=(SIDE // PATCH) ** 2,
        vision_feature_select_strategy="full",
        vision_aspect_ratio="anyres_max_2",
        chat_template=LlavaOnevision.fallback_template,
    )


def _qwen2_audio(processor: ProcessorMixin, layers: int) -> PreTrainedModel:
    config = Qwen2AudioConfig(
        audio_config={
            "model_type": "qwen2_audio_encoder",
            "num_mel_bins": _BINS,
            "d_model": 32,
            "encoder_layers": 2,
            "encoder_attention_heads": 4,
            "encoder_ffn_dim": 64,
            "max_source_positions": _MEL_FRAMES // 2,
        },
        text_config={"model_type": "qwen2", **text_config(processor, layers)},
        audio_token_index=processor.audio_token_id,
    )
    return Qwen2AudioForConditionalGeneration(config)


def _qwen2_audio_processor() -> ProcessorMixin:
    named = {
        "audio_token": "<|AUDIO|>",
        "audio_bos_token": "<|audio_bos|>",
        "audio_eos_token": "<|audio_eos|>",
    }
    return Qwen2AudioProcessor(
        WhisperFeatureExtractor(feature_size=_BINS, sampling_rate=RATE, chunk_length=1, hop_length=RATE // 100),
        named_tokenizer(VOCAB - 4, named, ("<|im_start|>", "<|im_end|>")),
        chat_template=CHATML_AUDIO,
    )


def _audioflamingo3(processor: ProcessorMixin, layers: int) -> PreTrainedModel:
    config = AudioFlamingo3Config(
        audio_config={
            "num_mel_bins": _BINS,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "max_source_positions": _MEL_FRAMES // 2,
        },
        text_config={"model_type": "qwen2", **text_config(processor, layers)},
        audio_token_id=processor.audio_token_id,
        tie_word_embeddings=False,
    )
    return AudioFlamingo3ForConditionalGeneration(config)


def _audioflamingo3_processor() -> ProcessorMixin:
    return AudioFlamingo3Processor(
        WhisperFeatureExtractor(feature_size=_BINS, sampling_rate=RATE, chunk_length=1, hop_length=RATE // 100),
        named_tokenizer(VOCAB - 4, {}, ("<sound>", "<|im_start|>", "<|im_end|>")),
        chat_template=AudioFlamingo3.fallback_template,
        max_audio_len=5,
    )


SENSE_MAKERS: dict[str, Maker] = {
    "llava_next_video": (_llava_next_video, _llava_next_video_processor),
    "llava_onevision": (_llava_onevision, _llava_onevision_processor),
    "qwen2_audio": (_qwen2_audio, _qwen2_audio_processor),
    "audioflamingo3": (_audioflamingo3, _audioflamingo3_processor),
}
# What the examples of a family hold, where it is no picture.
SENSES = {"llava_next_video": "video", "qwen2_audio": "audio", "audioflamingo3": "audio"}
