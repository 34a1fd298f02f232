"""Sizes of image and video processors as transformers itself keeps them, however their user wrote them."""

from copy import copy
from typing import Any

from transformers.image_processing_utils import BaseImageProcessor
from transformers.image_utils import SizeDict

from chiasm.core.errors import ChiasmError

_PARTS = ("image_processor", "video_processor")


def with_read_sizes(processor: Any) -> Any:
    """`processor` with every size of its parts as a `SizeDict`: itself where all are, else a copy.

    transformers turns dicts, numbers and pairs into `SizeDict`s when a processor is made and in every call, but not
    when one is set on a processor that is there (`processor.image_processor.size = {"shortest_edge": 336}`).

    **Errors:** `ChiasmError` for what transformers does not read as a size.
    """
    parts = {name: getattr(processor, name, None) for name in _PARTS}
    read = {name: _read(name, part) for name, part in parts.items() if isinstance(part, BaseImageProcessor)}
    changed = {name: part for name, part in read.items() if part is not parts[name]}
    if not changed:
        return processor
    found = copy(processor)
    for name, part in changed.items():
        setattr(found, name, part)
    return found


def require_patch_size(processor: Any, config: Any) -> None:
    """Refuse a processor that counts an image's tokens by a patch size that it lacks, as those saved before 2025 do.

    **Errors:** `ChiasmError` with the file that holds it, and the value that the model's own configuration has.
    """
    own = vars(processor)
    if "patch_size" not in own or own["patch_size"] is not None:
        return
    vision = config.to_dict().get("vision_config") or {}
    known = vision.get("patch_size")
    raise ChiasmError(
        "count the tokens of an image",
        "`patch_size` is missing in the processor (processor_config.json)",
        "Set `processor.patch_size` and save the processor again"
        + ("" if known is None else f"; the model's config.json has {known}"),
    )


def _read(name: str, part: BaseImageProcessor) -> BaseImageProcessor:
    given = {key: getattr(part, key, None) for key in part.valid_kwargs.__annotations__}
    try:
        read = part._standardize_kwargs(**given)
    except (TypeError, ValueError) as error:
        sizes = {key: value for key, value in given.items() if key.endswith("size") and value is not None}
        raise ChiasmError(
            f"read the sizes of the {name.replace('_', ' ')}",
            f"they are {sizes} ({error})",
            "Give each as transformers takes it, as {'height': 336, 'width': 336} or {'shortest_edge': 336}",
        ) from error
    sizes = {key: value for key, value in read.items() if isinstance(value, SizeDict) and value is not given.get(key)}
    if not sizes:
        return part
    found = copy(part)
    for key, value in sizes.items():
        setattr(found, key, value)
    return found
