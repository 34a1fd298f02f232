"""A real processor of any type: its own parts at small sizes, and a tokenizer with the tokens that it asks for."""

import ast
import inspect
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import transformers
from tests.support.breadth.configurations import GRID
from tests.support.tokenizers import named_tokenizer
from transformers import PreTrainedConfig, PreTrainedTokenizerFast, ProcessorMixin
from transformers.models.auto.feature_extraction_auto import FEATURE_EXTRACTOR_MAPPING_NAMES
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES
from transformers.models.auto.video_processing_auto import VIDEO_PROCESSOR_MAPPING_NAMES

VOCABULARY: Final = 440
KINDS: Final = ("image", "video", "audio")
_SIZES: Final = ("max_patches", "size", "crop_size", "max_pixels", "min_pixels")
_ROLES: Final = ("<|im_start|>", "<|im_end|>")
_STANDARD: Final = {"bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token"}
# What a processor's file writes that looks like a token: `<|...|>`, `<...>`, `[...]`.
_SPECIAL: Final = re.compile(
    r"<\|[^<>|]{1,40}\|>|</?[A-Za-z_][\w\-:]{1,30}>|\]<\][\w ]+\[>\[|\[[A-Z_]{2,20}\]|\|[A-Z]{3,}\|"
)
_ASKED: Final = re.compile(r"tokenizer\.(\w+_token)\b|tokenizer,\s*[\"'](\w+_token)[\"']")


class UnmadeError(Exception):
    """No small model of this type can be made by rule: the reason."""


def make_tokenizer(
    kind: type[ProcessorMixin],
    more: Sequence[str] = (),
    own: Mapping[str, str | None] | None = None,
    vocabulary: int = VOCABULARY,
) -> PreTrainedTokenizerFast:
    """Bytes and a few merges, with every special token that the source of `kind` names, and `more`."""
    source = "\n".join(_sources(kind))
    literal = dict.fromkeys(token for text in _texts(source) for token in _SPECIAL.findall(text))
    asked = [a or b for a, b in _ASKED.findall(source) if (a or b) not in _STANDARD]
    asked = [name for name in asked if not name.startswith(("add_", "all_"))]
    named = {name: _written(name, source) or f"<|{name.removesuffix('_token')}|>" for name in dict.fromkeys(asked)}
    if len(set(named.values())) < len(named):
        named = {name: f"<|{name.removesuffix('_token')}|>" for name in named}
    named = {name: token for name, token in (named | dict(own or {})).items() if token is not None}
    others = [
        token for token in literal if token not in named.values() and token not in ("<unk>", "<bos>", "<eos>", "<pad>")
    ]
    return named_tokenizer(vocabulary, named, tuple(dict.fromkeys((*others, *_ROLES, *more))))


def _written(name: str, source: str) -> str | None:
    """The token that the source writes where the tokenizer has none of this name."""
    for line in source.splitlines():
        if f"tokenizer.{name}" in line or f'"{name}"' in line:
            found = _SPECIAL.search(line)
            if found:
                return found[0]
    return None


def _texts(source: str) -> Iterator[str]:
    """Every text in the code, without what documents it."""
    tree = ast.parse(source)
    documented = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented:
            yield node.value


def _sources(kind: type) -> Iterator[str]:
    for one in kind.__mro__:
        if one.__module__.startswith("transformers.models."):
            yield inspect.getsource(sys.modules[one.__module__])


def processor_class(model_type: str, named: str | None) -> type[ProcessorMixin]:
    """The class that transformers maps, or the one `named`.

    **Errors:** `UnmadeError` where it maps none.
    """
    name = PROCESSOR_MAPPING_NAMES.get(model_type) or named
    if name is None:
        raise UnmadeError("transformers maps no processor to it: a checkpoint names its own")
    return getattr(transformers, name)


def make_parts(
    kind: type[ProcessorMixin],
    model_type: str,
    config: PreTrainedConfig,
    wanted: Mapping[str, Any],
    tokens: Sequence[str] = (),
    named: Mapping[str, str | None] | None = None,
    classes: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Its parts by name, at sizes that `config` has. `wanted`: options of parts (`image_processor.size`)."""
    tokenizer = make_tokenizer(kind, tokens, named)
    parts: dict[str, Any] = {}
    for name in kind.get_attributes():
        match name:
            case "tokenizer":
                parts[name] = tokenizer
            case "image_processor":
                parts[name] = _vision_part(
                    _mapped(IMAGE_PROCESSOR_MAPPING_NAMES, model_type, kind), config, _of(wanted, name)
                )
            case "video_processor":
                parts[name] = _vision_part(
                    _mapped(VIDEO_PROCESSOR_MAPPING_NAMES, model_type, kind), config, _of(wanted, name)
                )
            case "feature_extractor" | "audio_processor":
                own = (classes or {}).get(name)
                part = getattr(transformers, own) if own else _mapped(FEATURE_EXTRACTOR_MAPPING_NAMES, model_type, kind)
                parts[name] = _audio_part(part, config, _of(wanted, name))
            case _ if name.endswith("tokenizer"):
                parts[name] = named_tokenizer(VOCABULARY, {})
            case _:
                raise UnmadeError(f"its processor has a part `{name}` that no rule makes")
    return {name: part for name, part in parts.items() if part is not None}


def _mapped(mapping: Mapping[str, Any], model_type: str, kind: type) -> type | None:
    """The part of the type itself, or of another type with the same processor."""
    same = [other for other, name in PROCESSOR_MAPPING_NAMES.items() if name == kind.__name__]
    names = next((mapping[one] for one in (model_type, *same) if mapping.get(one) is not None), None)
    if names is None:
        return None
    names = names if isinstance(names, str) else names.get("torchvision") or names.get("pil")
    return getattr(transformers, names)


def vision_of(config: PreTrainedConfig) -> dict[str, Any]:
    held = config.to_dict()
    for name in ("vision_config", "vision_tower_config", "visual_config", "encoder_config"):
        if isinstance(held.get(name), dict):
            return held[name]
    inner = held.get("thinker_config")
    return inner["vision_config"] if isinstance(inner, dict) else held


def image_side(config: PreTrainedConfig) -> int:
    """The pixels of the square that the tower sees."""
    vision = vision_of(config)
    side = vision.get("image_size")
    side = side[0] if isinstance(side, list | tuple) else side
    patch = patch_side(config)
    return int(side) if isinstance(side, int) and 0 < side <= 4096 else GRID * patch


def patch_side(config: PreTrainedConfig) -> int:
    patch = vision_of(config).get("patch_size") or 14
    return int(patch[-1] if isinstance(patch, list | tuple) else patch)


def _of(wanted: Mapping[str, Any], part: str) -> dict[str, Any]:
    """The options of one part, without its name; `video` says whose they are to rules."""
    own = {path.partition(".")[2]: value for path, value in wanted.items() if path.startswith(f"{part}.")}
    return own | {"_video": part == "video_processor"}


def _defaults(kind: type) -> dict[str, Any]:
    """What a part is without options."""
    part = kind()
    known = getattr(kind, "valid_kwargs", None)
    names = list(getattr(known, "__annotations__", {})) or list(vars(part))
    return {name: getattr(part, name) for name in names if getattr(part, name, None) is not None}


def _vision_part(kind: type | None, config: PreTrainedConfig, wanted: dict[str, Any]) -> Any:
    if kind is None:
        return None
    options: dict[str, Any] = {}
    video = wanted.pop("_video")
    held = _defaults(kind)
    side, patch = image_side(config), patch_side(config)
    vision = vision_of(config)
    merge = vision.get("spatial_merge_size") or held.get("merge_size") or 1
    square = {"height": side, "width": side}
    if "patch_size" in held and isinstance(held["patch_size"], int) and held["patch_size"] < 64:
        options["patch_size"] = patch
    elif isinstance(held.get("patch_size"), dict):
        options["patch_size"] = {"height": patch, "width": patch}
    if "encoder_patch_size" in held:
        options["encoder_patch_size"] = patch
    for entry, key in (("merge_size", "spatial_merge_size"), ("temporal_patch_size", "temporal_patch_size")):
        if entry in held and isinstance(vision.get(key), int):
            options[entry] = vision[key]
    size = dict(held.get("size") or {})
    if "height" in size:
        options["size"] = square
    elif {"shortest_edge", "longest_edge"} <= size.keys() and size["longest_edge"] > 10_000:
        unit = (patch * merge) ** 2
        options["size"] = {"shortest_edge": 4 * unit, "longest_edge": 64 * unit}
        if video:
            options["size"] = {"shortest_edge": 4 * unit, "longest_edge": 256 * unit}
    elif "min_pixels" in size:
        options["size"] = {"min_pixels": side * side // 4, "max_pixels": side * side}
    elif {"shortest_edge", "longest_edge"} <= size.keys():
        options["size"] = {"shortest_edge": side // 2, "longest_edge": side}
    elif "shortest_edge" in size:
        options["size"] = {"shortest_edge": side}
    elif "longest_edge" in size and size["longest_edge"] > 1:
        options["size"] = {"longest_edge": 2 * side if "max_image_size" in held else side}
    if "crop_size" in held and held["crop_size"] is not None:
        options["crop_size"] = square
    if isinstance(held.get("max_image_size"), dict) and held["max_image_size"].get("longest_edge", 0) < 10_000:
        options["max_image_size"] = {"longest_edge": side}
    if held.get("image_grid_pinpoints"):
        options["image_grid_pinpoints"] = [[side, 2 * side], [2 * side, side], [2 * side, 2 * side]]
    if "scale_resolution" in held:
        options |= {"scale_resolution": side, "max_slice_nums": 4}
    if "max_num_tiles" in held:
        options["max_num_tiles"] = 4
    if "tile_size" in held:
        options["tile_size"] = side
    for entry in ("max_patches",):
        if isinstance(held.get(entry), int):
            options[entry] = 4 if held[entry] < 64 else 256
    return kind(**(options | wanted))


def _audio_part(kind: type | None, config: PreTrainedConfig, wanted: dict[str, Any]) -> Any:
    wanted.pop("_video")
    if kind is None:
        return None
    try:
        held = kind().to_dict()
    except ImportError as error:
        raise UnmadeError(
            f"its sounds need a package that is not installed ({' '.join(str(error).split())[:60]})"
        ) from error
    options: dict[str, Any] = {}
    bands = _entry("num_mel_bins", config.to_dict().get("audio_config") or {})
    if bands is not None and "feature_size" in held:
        options["feature_size"] = bands
    if "chunk_length" in held:
        options["chunk_length"] = 8
    return kind(**(options | wanted))


def _entry(name: str, held: Mapping[str, Any]) -> Any:
    """The first entry of this name in nested dicts; None where there is none."""
    inner = (_entry(name, part) for part in held.values() if isinstance(part, dict))
    return held[name] if name in held else next((found for found in inner if found is not None), None)


def make_processor(
    kind: type[ProcessorMixin], parts: Mapping[str, Any], config: PreTrainedConfig, **more: Any
) -> ProcessorMixin:
    """The processor of these parts; what it wants besides is taken from `config` where that has the name."""
    wanted = inspect.signature(kind.__init__).parameters
    vision, held = vision_of(config), config.to_dict()
    options = {}
    for name, parameter in wanted.items():
        if name in ("self", "chat_template", "kwargs", "args") or name in parts:
            continue
        if name in more:
            options[name] = more[name]
        elif name == "patch_size":
            options[name] = patch_side(config)
        elif name == "img_size":
            options[name] = image_side(config)
        elif isinstance(held.get(name, vision.get(name)), int | float | str) and not name.endswith("_token"):
            options[name] = held.get(name, vision.get(name))
        elif parameter.default is inspect.Parameter.empty and name not in kind.get_attributes():
            raise UnmadeError(f"its processor wants `{name}`, which no rule knows")
    processor = kind(**parts, **options)
    # What a class hands its parts with every call would undo the sizes that they were made with.
    handed = getattr(kind, "images_kwargs", {})
    own = {name: getattr(parts["image_processor"], name) for name in handed if name in _SIZES and name not in more}
    if own:
        processor.images_kwargs = handed | own
    return processor
