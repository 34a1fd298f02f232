"""The embedded models' shapes: real transformers classes at a size that fits into a wheel."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import torch
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPProcessor,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextImageProcessorPil,
    LlavaNextVideoConfig,
    LlavaNextVideoForConditionalGeneration,
    LlavaProcessor,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    Qwen2AudioProcessor,
    WhisperFeatureExtractor,
)

from chiasm.data.scenes.melodies import RATE, SECONDS
from chiasm.data.scenes.world import SIDE
from chiasm.interventions.projectors import ProjectorSpec
from chiasm.models.projectors.swap import swap_projector
from chiasm.tiny.tokens import AUDIO, IMAGE, VIDEO
from chiasm.tiny.tokens import tokenizer as closing_tokenizer

_Model = TypeVar("_Model", bound=PreTrainedModel)
PATCH: Final = 16
PATCHES: Final = (SIDE // PATCH) ** 2
FEW: Final = ProjectorSpec("perceiver", depth=2, tokens=9)
SEED: Final = 20
LAYERS: Final = 6
_VISION: Final = {
    "hidden_size": 96,
    "intermediate_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "image_size": SIDE,
    "patch_size": PATCH,
    "projection_dim": 64,
}
_AUDIO: Final[dict[str, Any]] = {
    "model_type": "qwen2_audio_encoder",
    "num_mel_bins": 40,
    "d_model": 96,
    "encoder_layers": 3,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 256,
    # A mel frame every 10 ms, halved by a convolution; a pooling then leaves a token every 40 ms.
    "max_source_positions": round(SECONDS * 100) // 2,
}
_DECODER: Final = {
    "model_type": "llama",
    "hidden_size": 128,
    "intermediate_size": 352,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 1024,
    "initializer_range": 0.03,
    "tie_word_embeddings": False,
    "attn_implementation": "sdpa",
}


def llava(tokenizer: PreTrainedTokenizerFast, seed: int = SEED) -> LlavaForConditionalGeneration:
    """A LLaVA-1.5-shaped model with random weights from `seed`, in float32.

    As in LLaVA-1.5: the tower's last layer but one, without its class token, feeds a two-layer GELU projector.
    """
    config = LlavaConfig(
        vision_config={"model_type": "clip_vision_model", **_VISION},
        text_config=_text(tokenizer),
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        image_seq_length=PATCHES,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        tie_word_embeddings=False,
    )
    return _seeded(lambda: LlavaForConditionalGeneration(config), tokenizer, seed)


def resampler(tokenizer: PreTrainedTokenizerFast, seed: int = SEED) -> LlavaForConditionalGeneration:
    """The same model with few image tokens: nine queries read the patches, two blocks deep (a Perceiver resampler)."""
    model = llava(tokenizer, seed)
    swap_projector(model, processor(tokenizer), FEW, seed=seed)
    return model.eval()


def llava_next_video(tokenizer: PreTrainedTokenizerFast, seed: int = SEED) -> LlavaNextVideoForConditionalGeneration:
    """The same tower, projector and decoder for videos: every frame becomes 9 tokens. Random weights from `seed`."""
    config = LlavaNextVideoConfig(
        vision_config={"model_type": "clip_vision_model", **_VISION},
        text_config=_text(tokenizer),
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE),
        video_token_index=tokenizer.convert_tokens_to_ids(VIDEO),
        image_grid_pinpoints=[[SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE]],
        image_seq_length=PATCHES,
        video_seq_length=PATCHES,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    return _seeded(lambda: LlavaNextVideoForConditionalGeneration(config), tokenizer, seed)


def qwen2_audio(tokenizer: PreTrainedTokenizerFast, seed: int = SEED) -> Qwen2AudioForConditionalGeneration:
    """A small audio encoder, a linear projector and the same decoder; random weights from `seed`."""
    config = Qwen2AudioConfig(
        audio_config=dict(_AUDIO),
        text_config=_text(tokenizer),
        audio_token_index=tokenizer.convert_tokens_to_ids(AUDIO),
    )
    return _seeded(lambda: Qwen2AudioForConditionalGeneration(config), tokenizer, seed)


def _text(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    return {**_DECODER, "vocab_size": len(tokenizer), **_ends(tokenizer)}


def _ends(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    return {"bos_token_id": 1, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}


def _seeded(build: Callable[[], _Model], tokenizer: PreTrainedTokenizerFast, seed: int) -> _Model:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build()
    model.generation_config.update(do_sample=False, max_new_tokens=40, **_ends(tokenizer))
    return model.float().eval()


def clip(tokenizer: PreTrainedTokenizerFast, seed: int = SEED) -> CLIPModel:
    """The tower with its contrastive text head, as CLIP has it; random weights from `seed`, in float32."""
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 160,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 64,
        "projection_dim": 64,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = CLIPConfig(text_config=text, vision_config=dict(_VISION), projection_dim=64)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return CLIPModel(config).float().eval()


def image_processor() -> CLIPImageProcessorPil:
    """CLIP's own preprocessing at the tower's size: shorter side resized, middle cropped, CLIP's mean and deviation."""
    return CLIPImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})


def processor(tokenizer: PreTrainedTokenizerFast) -> LlavaProcessor:
    """The processor, which writes one `<image>` token per patch."""
    return LlavaProcessor(
        image_processor=image_processor(),
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        chat_template=tokenizer.chat_template,
        image_token=IMAGE,
        num_additional_image_tokens=1,
    )


def resampler_processor(tokenizer: PreTrainedTokenizerFast) -> LlavaProcessor:
    """The processor that writes nine `<image>` tokens."""
    return swap_projector(llava(tokenizer), processor(tokenizer), FEW)


def video_processor(tokenizer: PreTrainedTokenizerFast) -> Any:
    """The processor for videos. transformers needs torchvision for it, which `pip install chiasm[torchvision]` adds."""
    from transformers import LlavaNextVideoProcessor, LlavaNextVideoVideoProcessor

    sizes = {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}
    return LlavaNextVideoProcessor(
        video_processor=LlavaNextVideoVideoProcessor(**sizes),
        image_processor=LlavaNextImageProcessorPil(
            **sizes, image_grid_pinpoints=[[SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE]]
        ),
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        chat_template=tokenizer.chat_template,
        num_additional_image_tokens=1,
    )


def feature_extractor() -> WhisperFeatureExtractor:
    """Log-mel spectrograms of one second, a frame every 10 ms."""
    bins, long = _AUDIO["num_mel_bins"], round(SECONDS)
    return WhisperFeatureExtractor(feature_size=bins, sampling_rate=RATE, chunk_length=long, hop_length=RATE // 100)


def audio_processor(tokenizer: PreTrainedTokenizerFast) -> Qwen2AudioProcessor:
    """The processor for sounds, which writes one `<audio>` token per 40 ms."""
    return Qwen2AudioProcessor(
        feature_extractor=feature_extractor(),
        tokenizer=tokenizer,
        chat_template=tokenizer.chat_template,
        audio_token=AUDIO,
    )


def clip_processor() -> CLIPProcessor:
    """The processor of the contrastive model; its tokenizer closes every text."""
    return CLIPProcessor(image_processor=image_processor(), tokenizer=closing_tokenizer(closing=True))


KINDS: Final[dict[str, tuple[Callable[..., PreTrainedModel], Callable[..., Any]]]] = {
    "llava": (llava, processor),
    "clip": (clip, lambda tokenizer: clip_processor()),
    "resampler": (resampler, resampler_processor),
    "video": (llava_next_video, video_processor),
    "audio": (qwen2_audio, audio_processor),
}
"""How the model and the processor of each kind in `registry.MODELS` are made, from a tokenizer."""
