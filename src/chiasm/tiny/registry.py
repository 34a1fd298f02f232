"""The names of the embedded models: what each is, what it is built on, its baseline and its world."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

SHIPPED: Final = Path(__file__).parent / "weights"
BASE: Final = "tiny"
RANDOM: Final = "tiny-random"


@dataclass(frozen=True, slots=True)
class EmbeddedModel:
    """What a name is, of which class, and the model whose tensors it shares; None if its file holds all of them."""

    about: str
    base: str | None
    kind: Literal["llava", "clip", "resampler", "video", "audio"] = "llava"


_STEPS: Final = (50, 100, 200, 300)
MODELS: Final = {
    "tiny": EmbeddedModel("the finished model: tower, projector and decoder after instruction tuning", None),
    "tiny@tower": EmbeddedModel("stage 1: the vision tower with its contrastive text head (a CLIPModel)", None, "clip"),
    "tiny@text": EmbeddedModel(
        "stage 2: the decoder taught on text only, behind a projector with random weights", "tiny"
    ),
    "tiny@aligned": EmbeddedModel("stage 3: the projector aligned on captions, tower and decoder frozen", "tiny@text"),
    "tiny@frozen": EmbeddedModel("the projector tuned on instructions, tower and decoder frozen", "tiny@text"),
    **{f"tiny@frozen-{n}": EmbeddedModel(f"`tiny@frozen` after {n} steps of 400", "tiny@text") for n in _STEPS},
    "tiny@noalign": EmbeddedModel("instruction tuning without the alignment stage", "tiny"),
    "tiny@frozen-noalign": EmbeddedModel("`tiny@frozen` without the alignment stage", "tiny@text"),
    "tiny@supervised": EmbeddedModel("`tiny@frozen` with a tower taught by labels alone", "tiny@text"),
    "tiny@mae": EmbeddedModel("`tiny@frozen` with a masked autoencoder as tower", "tiny@text"),
    "tiny@resampler": EmbeddedModel(
        "`tiny@frozen` with nine image tokens, from a Perceiver resampler", "tiny@text", "resampler"
    ),
    "tiny@video": EmbeddedModel(
        "videos on the frozen text decoder: a LLaVA-NeXT-Video (opening it takes torchvision)", "tiny@text", "video"
    ),
    "tiny@audio": EmbeddedModel("sounds on the frozen text decoder: a Qwen2-Audio", "tiny@text", "audio"),
    "tiny@video-captions": EmbeddedModel(
        "`tiny@video` taught one task, captions, as `tiny@aligned` is for images", "tiny@video", "video"
    ),
    "tiny@audio-captions": EmbeddedModel("`tiny@audio` taught one task, captions", "tiny@audio", "audio"),
    RANDOM: EmbeddedModel("the same shape as `tiny` with random weights: the control", None),
    **{
        f"{RANDOM}@{kind}": EmbeddedModel(f"the shape of `tiny@{kind}` with random weights: its control", None, kind)
        for kind in ("resampler", "video", "audio")
    },
}
NAMES: Final = {name: model.about for name, model in MODELS.items()}
"""What each name is, in the words that `chiasm models` prints."""


def names() -> tuple[str, ...]:
    """The names that `directory` accepts and whose weights are shipped."""
    return tuple(name for name in MODELS if untrained(name) or weights_file(name).exists())


def untrained(name: str) -> bool:
    """Whether the weights are random, so that no file holds them."""
    return name.startswith(RANDOM)


def baseline(name: str) -> str | None:
    """The random-weights baseline of the same shape; None for one that is random itself, or has no decoder."""
    kind = MODELS[name].kind
    if untrained(name) or kind == "clip":
        return None
    return RANDOM if kind == "llava" else f"{RANDOM}@{kind}"


def world(name: str) -> str:
    """The embedded world that a model is asked about: by the modality in its name, `scenes` for any other."""
    for modality in ("video", "audio"):
        if name in MODELS and f"@{modality}" in name:
            return f"scenes-{modality}"
    return "scenes"


def weights_file(name: str, folder: Path = SHIPPED) -> Path:
    """The file of the tensors that a model does not share with its base."""
    stem = "model" if name == BASE else name.removeprefix(f"{BASE}@")
    return folder / f"{stem}.safetensors"


def lineage(name: str) -> list[str]:
    """The model and those it is built on, the first of them first."""
    base = MODELS[name].base
    return [*(lineage(base) if base else []), name]


def sources(name: str) -> tuple[Path, ...]:
    """The files that a model's weights are made of; none for the random-weights baseline."""
    return () if untrained(name) else tuple(weights_file(part) for part in lineage(name))
