"""Whether a processor can make inputs: what it lacks, and which file would hold it."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from chiasm.core.errors import ChiasmError
from chiasm.core.media import MAX_PIXELS
from chiasm.interventions.projectors import spec_of
from chiasm.models.checkpoint.configuration import require_numbers
from chiasm.models.checkpoint.files import read_json

_TOKENS: Final = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json", "spiece.model")
_PARTS: Final = ("processor_config.json", "preprocessor_config.json", "video_preprocessor_config.json")
_SAVE: Final = "Save the whole processor beside the model (`processor.save_pretrained`)"
_MAX_SIDE: Final = 16_384
"""Longest side, in pixels, to which a processor may bring images."""
_MAX_TOKENS: Final = 1_000_000
"""Most tokens that a processor may write for one image."""
_OPTIONAL: Final = ("image_processor", "video_processor", "feature_extractor")


def absent_files(folder: Path) -> str:
    """Which files of a processor a directory lacks, in words; empty where it has all kinds."""
    kinds = {"the tokenizer": _TOKENS, "images, videos or sounds": _PARTS}
    lacking = [(what, names) for what, names in kinds.items() if not any((folder / name).is_file() for name in names)]
    return "; ".join(f"no file for {what} ({' or '.join(names[:2])})" for what, names in lacking)


def is_own(asked: str, folder: Path) -> bool:
    """Whether the checkpoint says itself what its processor is; else transformers puts one together from the parts."""
    files = [folder / name for name in (*_PARTS[1:], "tokenizer_config.json")]
    named = any("processor_class" in read_json(asked, path) for path in files if path.is_file())
    return named or (folder / _PARTS[0]).is_file()


def require_usable(asked: str, processor: Any, config: Any, *, listed: bool = True) -> None:
    """Refuse a processor from which no input could come, or none that means anything.

    `listed`: what the same names mean to configuration and processor is known of listed families alone; other models
    are tried.

    **Errors:** `ChiasmError` with what is missing and the file that holds it.
    """
    tokenizer = processor.tokenizer
    if not tokenizer.is_fast:
        found = f"its tokenizer ({type(tokenizer).__name__}) does not say which characters a token stands for"
        raise ChiasmError(asked, found, "Save a fast one beside the model: tokenizer.json is missing")
    own = vars(processor)
    for name, value in own.items():
        if name.endswith(("_tokens", "_seq_length", "_seq_len")) and isinstance(value, int) and value > _MAX_TOKENS:
            found = f"`{name}` in its processor_config.json is {value}"
            raise ChiasmError(asked, found, "Copy the processor's files again")
    for name in ("patch_size", "vision_feature_select_strategy"):
        if listed and name in own and own[name] is None:
            found = f"`{name}` is missing in its processor_config.json"
            raise ChiasmError(asked, found, f"Write it there: config.json has {_by_config(name, config)}")
    for part, file in parts_of(processor):
        settings = {key: value for key, value in part.to_dict().items() if key != "mel_filters"}
        require_numbers(asked, settings, file, infinite=False)
        _require_bounded(asked, settings, file)
        for name in ("image_std", "rescale_factor"):
            values = settings.get(name)
            spread = values if isinstance(values, list | tuple) else [values]
            if any(value is not None and not (isinstance(value, int | float) and value > 0) for value in spread):
                raise ChiasmError(asked, f"`{name}` in its {file} is {values}", "Copy the processor's files again")
    if listed:
        _require_same_token(asked, processor, config)
        _require_same_selection(asked, processor, config)


def _require_bounded(asked: str, settings: Mapping[str, Any], file: str) -> None:
    """Refuse sizes to which every image would be blown up, beyond any memory.

    Processors with a `merge_size` (Qwen's) count pixels where others give the length of an edge.
    """
    for name in ("size", "crop_size", "pad_size", "max_image_size"):
        sides = settings.get(name)
        for side, value in dict(sides).items() if isinstance(sides, Mapping) else ():
            most = MAX_PIXELS if side.endswith("_edge") and "merge_size" in settings else _MAX_SIDE
            if isinstance(value, int | float) and value > most:
                raise ChiasmError(
                    asked, f"`{name}` in its {file} has {side} {value}", "Copy the processor's files again"
                )


def parts_of(processor: Any) -> Iterator[tuple[Any, str]]:
    """What makes inputs of images, videos and sounds, each with the file that holds its settings."""
    files = {"video_processor": "video_preprocessor_config.json"}
    for name in _OPTIONAL:
        if vars(processor).get(name) is not None:
            yield vars(processor)[name], files.get(name, "preprocessor_config.json")


def seen_as(processor: Any) -> str:
    """How images are brought to size, in a few words: `resize, crop to 336 x 336`; empty without an image processor."""
    part = vars(processor).get("image_processor")
    if part is None:
        return ""
    settings = part.to_dict()
    words = []
    if settings.get("do_resize"):
        words.append("resize")
    if settings.get("do_center_crop"):
        words.append(f"crop{_extent(settings.get('crop_size'))}")
    if settings.get("do_pad"):
        words.append("pad")
    return ", ".join(words) or "as they are"


def backend(processor: Any) -> str:
    """What computes on pixels: `torchvision (fast)`, `pil (slow)`; empty without an image processor."""
    part = vars(processor).get("image_processor")
    if part is None:
        return ""
    name = str(getattr(part, "backend", "") or "")
    return {"torchvision": "torchvision (fast)", "pil": "pil (slow)"}.get(name, name or type(part).__name__)


def _by_config(name: str, config: Any) -> str:
    held = config.to_dict()
    value = held.get(name, (held.get("vision_config") or {}).get(name))
    return "none either" if value is None else f"{value!r}"


def _require_same_token(asked: str, processor: Any, config: Any) -> None:
    """The token that stands for an image must be one to model and processor, or the image would be written as text."""
    held, known = config.to_dict(), _placeholders(processor)
    for kind in ("image", "video", "audio"):
        ours = vars(processor).get(f"{kind}_token_id")
        theirs = held.get(f"{kind}_token_id", held.get(f"{kind}_token_index"))
        named = getattr(processor.tokenizer, f"{kind}_token_id", None)
        if isinstance(ours, int) and isinstance(theirs, int) and theirs not in {*known, named}:
            found = f"the id of its {kind} token is {theirs} in config.json and {ours} to its processor"
            raise ChiasmError(asked, found, "Take config.json and processor from the same checkpoint")


def _placeholders(processor: Any) -> set[int]:
    """The ids of all tokens that a processor has a name for; some write another for an image than they are given."""
    tokenizer, own = processor.tokenizer, vars(processor)
    ids = {value for name, value in own.items() if name.endswith("_token_id") and isinstance(value, int)}
    texts = {str(text) for name, text in own.items() if name.endswith("_token")}
    return ids | {tokenizer.convert_tokens_to_ids(text) for text in texts if text in tokenizer.get_vocab()}


def _require_same_selection(asked: str, processor: Any, config: Any) -> None:
    """How many tokens an image has follows from these, which stand in two files."""
    held, own = config.to_dict(), vars(processor)
    for name, theirs in (
        ("vision_feature_select_strategy", held.get("vision_feature_select_strategy")),
        ("patch_size", (held.get("vision_config") or {}).get("patch_size")),
    ):
        ours = own.get(name)
        if name == "patch_size" and spec_of(config) is not None:
            continue  # another projector: the processor's patches are then those of its tokens
        if ours is not None and theirs is not None and ours != theirs:
            found = f"`{name}` is {theirs!r} in its config.json and {ours!r} in its processor_config.json"
            raise ChiasmError(asked, found, "Take config.json and processor from the same checkpoint")


def _extent(size: Any) -> str:
    sides = [value for value in dict(size or {}).values() if isinstance(value, int | float) and math.isfinite(value)]
    return f" to {' x '.join(f'{side:g}' for side in sides)}" if sides else ""
