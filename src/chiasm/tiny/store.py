"""Where the shipped weights become directories that `from_pretrained` opens."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from chiasm.core.cache import cache_directory
from chiasm.core.errors import ChiasmError
from chiasm.tiny.registry import BASE, MODELS, lineage, names, sources, untrained, weights_file


def directory(name: str = BASE) -> Path:
    """A directory with model and processor, made in the user's cache on first use.

    `CHIASM_CACHE` moves the cache. Its name holds a hash of what it is made from, so a new release never reads an old
    one; it is written elsewhere and renamed, so that neither a crash nor two processes leave half of one.
    Errors: ValueError for a name that is not shipped.
    """
    if name not in MODELS or not (untrained(name) or weights_file(name).exists()):
        raise ValueError(f"no embedded model is called {name!r}; there are {', '.join(names())}")
    return kept("tiny", f"{name}-{_fingerprint(name)}", lambda scratch: _write(name, scratch))


def kept(folder: str, name: str, fill: Callable[[Path], None]) -> Path:
    """The directory `name` in a folder of the cache, filled on first use: wholly or not at all.

    **Errors:** `ChiasmError` for a cache that cannot be used.
    """
    target = cache_directory() / folder / name
    try:
        if not (target / "config.json").exists():
            _write_atomically(target, fill)
    except OSError as error:
        found = error.strerror or str(error)
        todo = "Name a folder that can be written, and has room, with CHIASM_CACHE"
        raise ChiasmError(f"keep what is made once in the cache `{cache_directory()}`", found, todo) from error
    return target


@cache
def _fingerprint(name: str) -> str:
    code = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in (*code, *sources(name)))).hexdigest()[:12]


def _write_atomically(target: Path, fill: Callable[[Path], None]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        fill(scratch)
        scratch.chmod(0o755)
        try:
            os.rename(scratch, target)
        except OSError:
            # Another process was first. What it wrote is the same.
            if not (target / "config.json").exists():
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _write(name: str, scratch: Path) -> None:
    from chiasm.models.loading import bars_on_terminal
    from chiasm.tiny import shapes
    from chiasm.tiny.tokens import tokenizer

    words = tokenizer()
    build, build_processor = shapes.KINDS[MODELS[name].kind]
    model: Any = build(words)
    build_processor(words).save_pretrained(scratch)
    if untrained(name):
        # As of the trained ones: one decoder for all, or what they perceive could not be compared with each other.
        known = model.state_dict().keys() if MODELS[name].kind in ("video", "audio") else ()
        decoder = shapes.llava(words).state_dict()
        model.load_state_dict({key: decoder[key] for key in known if key in decoder}, strict=False)
    else:
        _load(model, name)
    # The numbers are those of half precision; computing in it would be slow and rough on a CPU.
    with bars_on_terminal():
        model.half().float().save_pretrained(scratch)


def _load(model: Any, name: str) -> None:
    from safetensors.torch import load_file

    *bases, own = (load_file(weights_file(part)) for part in lineage(name))
    known = model.state_dict().keys()
    # A model for sounds shares the decoder of its base, not the eyes.
    shared = {key: value for base in bases for key, value in base.items() if key in known}
    model.load_state_dict({key: value.float() for key, value in (shared | own).items()}, strict=True)
