"""Which architectures are supported, and what each does in its own way."""

from difflib import SequenceMatcher
from typing import Any

from transformers import CONFIG_MAPPING

from chiasm.core.discovery import classes_in
from chiasm.core.errors import ChiasmError
from chiasm.models.families.base import Family, Medium


def _declared() -> tuple[Family, ...]:
    """One of each class in this package that names its `model_types`, by the names of their files."""
    return tuple(kind() for kind in classes_in(__name__, Family) if kind.__dict__.get("model_types"))


FAMILIES: tuple[Family, ...] = _declared()
"""Every architecture that has a file of its own here; a new one needs nothing but its file."""


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
