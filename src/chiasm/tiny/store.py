"""Where the shipped weights become directories that `from_pretrained` opens."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final

SHIPPED: Final = Path(__file__).parent / "weights"
BASE: Final = "tiny"
RANDOM: Final = "tiny-random"
# What each name is, in the words that `chiasm models` prints.
NAMES: Final = {
    "tiny": "the finished model: tower, projector and decoder after instruction tuning",
    "tiny@tower": "stage 1: the vision tower with its contrastive text head (a CLIPModel)",
    "tiny@text": "stage 2: the decoder taught on text only, behind a projector with random weights",
    "tiny@aligned": "stage 3: the projector aligned on captions, tower and decoder frozen",
    "tiny@frozen": "the projector tuned on instructions, tower and decoder frozen",
    "tiny@noalign": "instruction tuning without the alignment stage",
    "tiny-random": "the same shape with random weights: the control",
}


def names() -> tuple[str, ...]:
    """The names that `directory` accepts and whose weights are shipped."""
    return tuple(name for name in NAMES if name == RANDOM or _source(name).exists())


def directory(name: str = BASE) -> Path:
    """A directory with model and processor, made in the user's cache on first use.

    `CHIASM_CACHE` moves the cache. Its name holds a hash of what it is made from, so a new release never reads an old
    one; it is written elsewhere and renamed, so that neither a crash nor two processes leave half of one.
    Errors: ValueError for a name that is not shipped.
    """
    if name not in NAMES or (name != RANDOM and not _source(name).exists()):
        raise ValueError(f"no embedded model is called {name!r}; there are {', '.join(names())}")
    place = _cache() / f"{name}-{_fingerprint(name)}"
    if not (place / "config.json").exists():
        _atomically(place, lambda part: _fill(name, part))
    return place


def _source(name: str) -> Path:
    """The file whose tensors make the model, together with those of `tiny`."""
    stem = "model" if name == BASE else name.removeprefix(f"{BASE}@")
    return SHIPPED / f"{stem}.safetensors"


def _cache() -> Path:
    root = os.environ.get("CHIASM_CACHE")
    if root:
        return Path(root) / "tiny"
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "chiasm" / "tiny"


@cache
def _fingerprint(name: str) -> str:
    digest = hashlib.sha256()
    files = [path for path in sorted(Path(__file__).parent.glob("*.py")) if path.stem in ("tokens", "shape")]
    if name != RANDOM:
        files += [_source(BASE), _source(name)]
    for path in files:
        if path.exists():
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


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
    from chiasm.tiny import shape
    from chiasm.tiny.tokens import tokenizer

    words = tokenizer()
    if name == "tiny@tower":
        model = shape.clip(words)
        shape.clip_processor().save_pretrained(part)
    else:
        model = shape.llava(words)
        shape.processor(words).save_pretrained(part)
    if name != RANDOM:
        # A variant's file holds the tensors that differ from the finished model's; the tower's holds all of its own.
        sources = [_source(name)] if name == "tiny@tower" else [_source(BASE), _source(name)]
        _load(model, sources)
    # The numbers are those of half precision; computing in it would be slow and rough on a CPU.
    model.half().float().save_pretrained(part)


def _load(model: object, sources: list[Path]) -> None:
    from safetensors.torch import load_file

    tensors = {key: value for source in sources for key, value in load_file(source).items()}
    model.load_state_dict({key: value.float() for key, value in tensors.items()}, strict=True)


def export(states: dict[str, dict[str, object]], target: Path = SHIPPED) -> None:
    """Writes state dicts by name as half-precision files: `tiny` and `tiny@tower` whole, the others as differences.

    `states` must hold `tiny`, or the directory already has it.
    """
    import torch
    from safetensors.torch import load_file, save_file

    target.mkdir(parents=True, exist_ok=True)
    halves = {
        name: {key: value.detach().to(torch.float16).contiguous() for key, value in state.items()}
        for name, state in states.items()
    }
    base = halves[BASE] if BASE in halves else load_file(target / "model.safetensors")
    for name, state in halves.items():
        whole = name in (BASE, "tiny@tower")
        kept = state if whole else {k: v for k, v in state.items() if not torch.equal(v, base[k])}
        file = target / ("model.safetensors" if name == BASE else f"{name.split('@')[1]}.safetensors")
        save_file(kept, file)
        # safetensors writes for the owner alone; a package is read by everyone.
        file.chmod(0o644)
