"""Where tokens look in an image that was stretched, cropped, padded or cut into tiles: canvases, grids, layouts.

Legend: n tokens. Rectangles are (x0, y0, x1, y1) in pixels of the original image. The steps of CLIP-style image
processors repeat the rounding of transformers' `image_processing_backends` and `image_transforms`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from transformers.image_transforms import get_size_with_aspect_ratio
from transformers.image_utils import SizeDict

from chiasm.core.errors import ChiasmError
from chiasm.models.encoded import ImageLayout
from chiasm.models.families.base import Medium, check_count
from chiasm.models.geometry import Canvas

Rects = Float[np.ndarray, "n 4"]


def original_canvas(image: Medium) -> Canvas:
    """The image before any step of its processor."""
    return Canvas(image.width, image.height)


def resized(canvas: Canvas, image_processor: Any) -> Canvas:
    """After the processor's `resize` with its own `size`."""
    size = _as_size(image_processor.size)
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
        found = f"the image processor resizes to {size}"
        raise ChiasmError("where image patches look", found, "Give its `size` an edge or both sides")
    return canvas.resize(width, height)


def _as_size(size: Any) -> SizeDict:
    """Older processors keep sizes as plain dicts."""
    return size if isinstance(size, SizeDict) else SizeDict(**size)


def cropped(canvas: Canvas, image_processor: Any) -> Canvas:
    """After the processor's `center_crop`, which pads what is smaller than the crop."""
    crop = _as_size(image_processor.crop_size)
    width, height = crop.width, crop.height
    # The PIL backend puts an odd pixel of padding before the image, the torchvision backend behind it.
    # Processors older than both work as PIL's does.
    before = 1 if getattr(image_processor, "backend", "pil") == "pil" else 0
    return canvas.frame(_start(canvas.width, width, before), _start(canvas.height, height, before), width, height)


def _start(size: int, crop: int, before: int) -> int:
    return (size - crop) // 2 if size >= crop else -((crop - size + before) // 2)


def processed_canvas(canvas: Canvas, image_processor: Any) -> Canvas:
    """After the steps that the processor's configuration switches on."""
    if image_processor.do_resize:
        canvas = resized(canvas, image_processor)
    if image_processor.do_center_crop:
        canvas = cropped(canvas, image_processor)
    return canvas


def cells(canvas: Canvas, rows: int, columns: int) -> Rects:
    """Equal cells over all of `canvas`, row by row."""
    return canvas.resize(columns, rows).cells(1, rows=rows, columns=columns).reshape(-1, 4)


def tiles(canvas: Canvas, rows: int, columns: int, side: int) -> Rects:
    """Rows x columns tiles over all of `canvas`, each of `side` x `side` cells: tile by tile, row by row within."""
    fine = cells(canvas, rows * side, columns * side).reshape(rows, side, columns, side, 4)
    return fine.transpose(0, 2, 1, 3, 4).reshape(-1, 4)


def no_places(count: int) -> Rects:
    """Tokens that look at no place: separators, class tokens, queries over the whole image."""
    return np.full((count, 4), np.nan)


def make_layout(
    image: Medium,
    views: Mapping[str, Rects],
    how: str,
    *,
    token: int | None = None,
    newline: Bool[np.ndarray, " n"] | None = None,
) -> ImageLayout:
    """The tokens of `image` over `views`, one behind the other: `base` is the whole image, `hd` are its tiles.

    `token`: the id of those that stand for a piece of the image; None for all that the processor wrote. `newline`:
    which of them are separators. `how`: what the processor's configuration means, in words.

    **Errors:** `ChiasmError` where the processor wrote another number of tokens.
    """
    if token is not None:
        image = image._replace(positions=image.positions[image.ids == token])
    count = sum(map(len, views.values()))
    check_count(image, count, how)
    return ImageLayout(
        image.positions,
        np.concatenate([no_places(0), *views.values()]),
        np.repeat(list(views), [len(rects) for rects in views.values()]),
        np.zeros(count, dtype=bool) if newline is None else newline,
        image.width,
        image.height,
    )


def grid_layout(image: Medium, token: int, canvas: Canvas | None = None) -> ImageLayout:
    """The tokens of id `token` as a grid over `canvas` (None: the whole stretched image), row by row.

    **Errors:** `ChiasmError` where they do not fill a square.
    """
    side = math.isqrt(int((image.ids == token).sum()))
    rects = cells(canvas or original_canvas(image), side, side)
    return make_layout(image, {"base": rects}, "a square grid over the image", token=token)


def placeless_layout(image: Medium, token: int) -> ImageLayout:
    """The tokens of id `token`, each of which reads the whole image and looks at no place in it."""
    count = int((image.ids == token).sum())
    return make_layout(image, {"base": no_places(count)}, "queries", token=token)


def nearest_shape(count: int, width: int, height: int) -> tuple[int, int]:
    """Rows and columns of `count` cells whose ratio is nearest to that of the sides."""
    pairs = [(rows, count // rows) for rows in range(1, count + 1) if count % rows == 0]
    return min(pairs, key=lambda pair: abs(math.log(pair[1] / pair[0] * height / width)))


def tiled_layout(image: Medium, token: int, per_tile: int) -> ImageLayout:
    """Tiles of the stretched image, then all of it in one; the latter alone where there is no tile.

    As many tiles as there are tokens for, in rows and columns of the image's shape.

    **Errors:** `ChiasmError` where the tokens of id `token` do not fill tiles of `per_tile`.
    """
    whole, side = original_canvas(image), math.isqrt(per_tile)
    views = {"base": cells(whole, side, side)}
    count = int((image.ids == token).sum()) // per_tile - 1
    if count > 0:
        views = {"hd": tiles(whole, *nearest_shape(count, image.width, image.height), side)} | views
    return make_layout(image, views, f"tiles of {side} x {side}, and a view of all", token=token)


def rows_with_breaks(image: Medium, size: Sequence[int], side: int) -> ImageLayout:
    """An image of `size` (height, width) in cells of `side` pixels, a separator behind every row of them.

    Pixtral's: the separator of the last row is the token that ends the image.
    """
    rows, columns = (int(pixels) // side for pixels in size)
    grid = cells(original_canvas(image), rows, columns).reshape(rows, columns, 4)
    lines = np.concatenate([grid, np.full((rows, 1, 4), np.nan)], axis=1).reshape(-1, 4)
    newline = np.isnan(lines[:, 0])
    return make_layout(image, {"base": lines}, f"{rows} rows of {columns} and a break", newline=newline)


def each_frame(video: Medium, rects: Rects, how: str, *, token: int | None = None) -> tuple[ImageLayout, ...]:
    """The same `rects` in every frame of `video`, frame by frame."""
    if token is not None:
        chosen = video.ids == token
        video = video._replace(positions=video.positions[chosen], ids=video.ids[chosen])
    check_count(video, video.frames * len(rects), f"{video.frames} {how}")
    frames = np.split(video.positions, video.frames)
    return tuple(make_layout(video._replace(positions=positions), {"base": rects}, how) for positions in frames)
