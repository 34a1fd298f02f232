"""The steps of CLIP-style image processors (resize, crop to the centre, pad) on a `Canvas`.

Source: transformers' `image_processing_backends` and `image_transforms`, whose rounding this repeats.
"""

from typing import Any

from transformers.image_transforms import get_size_with_aspect_ratio

from chiasm.core.errors import ChiasmError
from chiasm.models.encoding.geometry import Canvas


def resized(canvas: Canvas, image_processor: Any) -> Canvas:
    """After the processor's `resize` with its own `size`."""
    size = image_processor.size
    if size.shortest_edge and size.longest_edge:
        height, width = get_size_with_aspect_ratio((canvas.height, canvas.width), size.shortest_edge, size.longest_edge)
    elif size.shortest_edge:
        short, long = sorted((canvas.width, canvas.height))
        longer = int(size.shortest_edge * long / short)
        narrow = canvas.width <= canvas.height
        width, height = (size.shortest_edge, longer) if narrow else (longer, size.shortest_edge)
    elif size.height and size.width:
        width, height = size.width, size.height
    else:
        raise ChiasmError(
            "where image patches look",
            f"the image processor resizes to {size}",
            "Give its `size` an edge or both sides",
        )
    return canvas.resize(width, height)


def cropped(canvas: Canvas, image_processor: Any) -> Canvas:
    """After the processor's `center_crop`, which pads what is smaller than the crop."""
    width, height = image_processor.crop_size.width, image_processor.crop_size.height
    # The PIL backend puts an odd pixel of padding before the picture, the torchvision backend behind it.
    before = 1 if image_processor.backend == "pil" else 0
    return canvas.frame(_start(canvas.width, width, before), _start(canvas.height, height, before), width, height)


def _start(size: int, crop: int, before: int) -> int:
    return (size - crop) // 2 if size >= crop else -((crop - size + before) // 2)


def prepared(canvas: Canvas, image_processor: Any) -> Canvas:
    """After the steps that the processor's configuration switches on."""
    if image_processor.do_resize:
        canvas = resized(canvas, image_processor)
    if image_processor.do_center_crop:
        canvas = cropped(canvas, image_processor)
    return canvas
