"""Which architectures are supported, and what each does in its own way."""

from difflib import SequenceMatcher
from typing import Any

from transformers import CONFIG_MAPPING

from chiasm.core.errors import ChiasmError
from chiasm.models.families.audioflamingo3 import AudioFlamingo3
from chiasm.models.families.base import Family, Medium
from chiasm.models.families.blip_2 import Blip2
from chiasm.models.families.chameleon import Chameleon
from chiasm.models.families.gemma3 import Gemma3
from chiasm.models.families.glm4v_moe import Glm4vMoe
from chiasm.models.families.idefics3 import Idefics3
from chiasm.models.families.instructblip import InstructBlip
from chiasm.models.families.internvl import InternVL
from chiasm.models.families.janus import Janus
from chiasm.models.families.lfm2_vl import Lfm2VL
from chiasm.models.families.llama4 import Llama4
from chiasm.models.families.llava import Llava
from chiasm.models.families.llava_next import LlavaNext
from chiasm.models.families.llava_next_video import LlavaNextVideo
from chiasm.models.families.llava_onevision import LlavaOnevision
from chiasm.models.families.mistral3 import Mistral3
from chiasm.models.families.mllama import Mllama
from chiasm.models.families.paligemma import PaliGemma
from chiasm.models.families.qwen2_5_omni import Qwen25Omni
from chiasm.models.families.qwen2_5_vl import Qwen25VL
from chiasm.models.families.qwen2_audio import Qwen2Audio
from chiasm.models.families.qwen2_vl import Qwen2VL
from chiasm.models.families.qwen3_5 import Qwen35
from chiasm.models.families.qwen3_vl import Qwen3VL
from chiasm.models.families.smolvlm import SmolVLM

FAMILIES: tuple[Family, ...] = (
    Llava(),
    LlavaNext(),
    LlavaNextVideo(),
    LlavaOnevision(),
    Qwen2VL(),
    Qwen25VL(),
    Qwen3VL(),
    Qwen35(),
    Qwen25Omni(),
    Qwen2Audio(),
    AudioFlamingo3(),
    Idefics3(),
    SmolVLM(),
    InternVL(),
    Mistral3(),
    PaliGemma(),
    Gemma3(),
    Glm4vMoe(),
    Chameleon(),
    Janus(),
    Blip2(),
    InstructBlip(),
    Lfm2VL(),
    Mllama(),
    Llama4(),
)


def answering_config(config: Any) -> Any:
    """The configuration of the part that perceives and answers, of a model that also speaks; others as they are."""
    # Qwen's omni models: a thinker, and a talker that reads its answer aloud.
    return config.thinker_config if "thinker_config" in config.to_dict() else config


def listed_family(config: Any) -> Family | None:
    """The family of a model's configuration; None for an architecture that has no file of its own.

    **Errors:** `ChiasmError` for a configuration that its family cannot follow.
    """
    for family in FAMILIES:
        if config.model_type in family.model_types:
            if family.too_old:
                raise ChiasmError("open the model", family.too_old, "pip install --upgrade transformers")
            family.require(config)
            return family
    return None


def family_of(config: Any) -> Family:
    """The family of a model's configuration.

    **Errors:** `ChiasmError` for an architecture without a family, with the nearest one named.
    """
    family = listed_family(config)
    if family is None:
        raise unsupported_error(config)
    return family


def unsupported_error(config: Any, why: str = "") -> ChiasmError:
    """What to say of an architecture that cannot be used, with the nearest supported family named."""
    nearest = max(FAMILIES, key=lambda family: _similarity(config, family))
    found = f"the architecture `{config.model_type}`"
    if why:
        found += f", {why}"
    elif not {"vision_config", "audio_config"} & config.to_dict().keys():
        found += ", whose configuration names neither a vision nor an audio part"
    return ChiasmError(
        "open the model",
        f"{found}; the nearest supported family is `{nearest.name}` ({nearest.kind})",
        "Use a checkpoint of " + ", ".join(f"`{family.name}`" for family in FAMILIES),
    )


def _similarity(config: Any, family: Family) -> float:
    """How alike the names are, plus which share of the configurations' own entries is common to both."""
    names = max(SequenceMatcher(None, config.model_type, known).ratio() for known in family.model_types)
    ours = CONFIG_MAPPING[family.model_types[0]]().to_dict().keys()
    theirs = config.to_dict().keys()
    return names + len(ours & theirs) / len(ours | theirs)
