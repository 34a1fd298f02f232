"""Where the shipped weights become directories that `from_pretrained` opens."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from torch import Tensor

SHIPPED: Final = Path(__file__).parent / "weights"
BASE: Final = "tiny"
RANDOM: Final = "tiny-random"


@dataclass(frozen=True, slots=True)
class Model:
    """What a name is, of which class, and the model whose tensors it shares; None if its file holds all of them."""

    about: str
    base: str | None
    kind: Literal["llava", "clip", "resampler", "video", "audio"] = "llava"


_STEPS: Final = (50, 100, 200, 300)
MODELS: Final = {
    "tiny": Model("the finished model: tower, projector and decoder after instruction tuning", None),
    "tiny@tower": Model("stage 1: the vision tower with its contrastive text head (a CLIPModel)", None, "clip"),
    "tiny@text": Model("stage 2: the decoder taught on text only, behind a projector with random weights", "tiny"),
    "tiny@aligned": Model("stage 3: the projector aligned on captions, tower and decoder frozen", "tiny@text"),
    "tiny@frozen": Model("the projector tuned on instructions, tower and decoder frozen", "tiny@text"),
    **{f"tiny@frozen-{n}": Model(f"`tiny@frozen` after {n} steps of 400", "tiny@text") for n in _STEPS},
    "tiny@noalign": Model("instruction tuning without the alignment stage", "tiny"),
    "tiny@frozen-noalign": Model("`tiny@frozen` without the alignment stage", "tiny@text"),
    "tiny@supervised": Model("`tiny@frozen` with a tower taught by labels alone", "tiny@text"),
    "tiny@mae": Model("`tiny@frozen` with a masked autoencoder as tower", "tiny@text"),
    "tiny@resampler": Model(
        "`tiny@frozen` with nine image tokens, from a Perceiver resampler", "tiny@text", "resampler"
    ),
    "tiny@video": Model(
        "videos on the frozen text decoder: a LLaVA-NeXT-Video (opening it takes torchvision)", "tiny@text", "video"
    ),
    "tiny@audio": Model("sounds on the frozen text decoder: a Qwen2-Audio", "tiny@text", "audio"),
    "tiny@video-captions": Model(
        "`tiny@video` taught one task, captions, as `tiny@aligned` is for images", "tiny@video", "video"
    ),
    "tiny@audio-captions": Model("`tiny@audio` taught one task, captions", "tiny@audio", "audio"),
    RANDOM: Model("the same shape as `tiny` with random weights: the control", None),
    **{
        f"{RANDOM}@{kind}": Model(f"the shape of `tiny@{kind}` with random weights: its control", None, kind)
        for kind in ("resampler", "video", "audio")
    },
}
# What each name is, in the words that `chiasm models` prints.
NAMES: Final = {name: model.about for name, model in MODELS.items()}


def names() -> tuple[str, ...]:
    """The names that `directory` accepts and whose weights are shipped."""
    return tuple(name for name in MODELS if untrained(name) or _source(name).exists())


def untrained(name: str) -> bool:
    """Whether the weights are random, so that no file holds them."""
    return name.startswith(RANDOM)


def twin(name: str) -> str | None:
    """The model of the same shape with random weights; None for one that is random itself, or has no decoder."""
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


def directory(name: str = BASE) -> Path:
    """A directory with model and processor, made in the user's cache on first use.

    `CHIASM_CACHE` moves the cache. Its name holds a hash of what it is made from, so a new release never reads an old
    one; it is written elsewhere and renamed, so that neither a crash nor two processes leave half of one.
    Errors: ValueError for a name that is not shipped.
    """
    if name not in MODELS or not (untrained(name) or _source(name).exists()):
        raise ValueError(f"no embedded model is called {name!r}; there are {', '.join(names())}")
    place = _cache() / f"{name}-{_fingerprint(name)}"
    if not (place / "config.json").exists():
        _atomically(place, lambda part: _fill(name, part))
    return place


def _source(name: str, root: Path = SHIPPED) -> Path:
    """The file of the tensors that a model does not share with its base."""
    stem = "model" if name == BASE else name.removeprefix(f"{BASE}@")
    return root / f"{stem}.safetensors"


def _chain(name: str) -> list[str]:
    """The model and those it is built on, the first of them first."""
    base = MODELS[name].base
    return [*(_chain(base) if base else []), name]


def sources(name: str) -> tuple[Path, ...]:
    """The files that a model's weights are made of; none for the random twin."""
    return () if untrained(name) else tuple(_source(part) for part in _chain(name))


def _cache() -> Path:
    root = os.environ.get("CHIASM_CACHE")
    if root:
        return Path(root) / "tiny"
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "chiasm" / "tiny"


@cache
def _fingerprint(name: str) -> str:
    code = [path for path in sorted(Path(__file__).parent.glob("*.py")) if path.stem in ("tokens", "shape", "store")]
    return hashlib.sha256(b"".join(path.read_bytes() for path in (*code, *sources(name)))).hexdigest()[:12]


def _atomically(place: Path, fill: Callable[[Path], None]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
    try:
        fill(part)
        part.chmod(0o755)
        try:
            os.rename(part, place)
        except OSError:
            # Another process was first. What it wrote is the same.
            if not (place / "config.json").exists():
                raise
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _fill(name: str, part: Path) -> None:
    from chiasm.models.loading import bars_for_people
    from chiasm.tiny import shape
    from chiasm.tiny.tokens import tokenizer

    words = tokenizer()
    match MODELS[name].kind:
        case "clip":
            model: Any = shape.clip(words)
            processor: Any = shape.clip_processor()
        case "video":
            model, processor = shape.llava_next_video(words), shape.video_processor(words)
        case "audio":
            model, processor = shape.qwen2_audio(words), shape.audio_processor(words)
        case "resampler":
            model, processor = shape.resampler(words), shape.resampler_processor(words)
        case "llava":
            model, processor = shape.llava(words), shape.processor(words)
    processor.save_pretrained(part)
    if untrained(name):
        # As of the trained ones: one decoder for all, or what they perceive could not be compared with each other.
        known = model.state_dict().keys() if MODELS[name].kind in ("video", "audio") else ()
        decoder = shape.llava(words).state_dict()
        model.load_state_dict({key: decoder[key] for key in known if key in decoder}, strict=False)
    else:
        _load(model, name)
    # The numbers are those of half precision; computing in it would be slow and rough on a CPU.
    with bars_for_people():
        model.half().float().save_pretrained(part)


def _load(model: Any, name: str) -> None:
    from safetensors.torch import load_file

    *bases, own = (load_file(_source(part)) for part in _chain(name))
    known = model.state_dict().keys()
    # A model for sounds shares the decoder of its base, not the eyes.
    shared = {key: value for base in bases for key, value in base.items() if key in known}
    model.load_state_dict({key: value.float() for key, value in (shared | own).items()}, strict=True)


def export(states: Mapping[str, Mapping[str, "Tensor"]], target: Path = SHIPPED) -> None:
    """Writes state dicts by name as half-precision files, each as its difference from its base.

    A base must be among the states or in the directory already.
    """
    import torch
    from safetensors.torch import load_file, save_file

    target.mkdir(parents=True, exist_ok=True)
    for name in MODELS:
        if name not in states:
            continue
        *bases, _ = _chain(name)
        shared = {key: value for base in bases for key, value in load_file(_source(base, target)).items()}
        state = {key: value.detach().to(torch.float16).contiguous() for key, value in states[name].items()}
        kept = {k: v for k, v in state.items() if k not in shared or not torch.equal(v, shared[k])}
        save_file(kept, _source(name, target))
        # safetensors writes for the owner alone; a package is read by everyone.
        _source(name, target).chmod(0o644)
