"""Grids of tokens over a picture that was stretched, cropped or cut into tiles, and their layout.

Legend: n tokens. Rectangles are (x0, y0, x1, y1) in pixels of the original picture.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float

from chiasm.models.encoding.encoded import ImageLayout
from chiasm.models.encoding.geometry import Canvas
from chiasm.models.families.base import Placed, check_count

Rects = Float[np.ndarray, "n 4"]


def shown(image: Placed) -> Canvas:
    """The picture before any step of its processor."""
    return Canvas(image.width, image.height)


def cells(canvas: Canvas, rows: int, columns: int) -> Rects:
    """Equal cells over all of `canvas`, row by row."""
    return canvas.resize(columns, rows).cells(1, rows=rows, columns=columns).reshape(-1, 4)


def tiles(canvas: Canvas, rows: int, columns: int, side: int) -> Rects:
    """Rows x columns tiles over all of `canvas`, each of `side` x `side` cells: tile by tile, row by row within."""
    fine = cells(canvas, rows * side, columns * side).reshape(rows, side, columns, side, 4)
    return fine.transpose(0, 2, 1, 3, 4).reshape(-1, 4)


def nowhere(count: int) -> Rects:
    """Tokens that look at no place: separators, class tokens, queries over the whole picture."""
    return np.full((count, 4), np.nan)


def laid_out(
    image: Placed,
    views: Mapping[str, Rects],
    how: str,
    *,
    token: int | None = None,
    newline: Bool[np.ndarray, " n"] | None = None,
) -> ImageLayout:
    """The tokens of `image` over `views`, one behind the other: `base` is the whole picture, `hd` are its tiles.

    `token`: the id of those that stand for a piece of the picture; None for all that the processor wrote. `newline`:
    which of them are separators. `how`: what the processor's configuration means, in words.

    **Errors:** `ChiasmError` where the processor wrote another number of tokens.
    """
    if token is not None:
        image = image._replace(positions=image.positions[image.ids == token])
    count = sum(map(len, views.values()))
    check_count(image, count, how)
    return ImageLayout(
        image.positions,
        np.concatenate([nowhere(0), *views.values()]),
        np.repeat(list(views), [len(rects) for rects in views.values()]),
        np.zeros(count, dtype=bool) if newline is None else newline,
        image.width,
        image.height,
    )


def square_layout(image: Placed, token: int) -> ImageLayout:
    """The tokens of id `token` as a grid over the whole stretched picture, row by row.

    **Errors:** `ChiasmError` where they do not fill a square.
    """
    return grid_layout(image, token, shown(image))


def grid_layout(image: Placed, token: int, canvas: Canvas) -> ImageLayout:
    """The tokens of id `token` as a grid over a square `canvas`, row by row.

    **Errors:** `ChiasmError` where they do not fill a square.
    """
    side = math.isqrt(int((image.ids == token).sum()))
    return laid_out(image, {"base": cells(canvas, side, side)}, "a square grid over the picture", token=token)


def placeless_layout(image: Placed, token: int) -> ImageLayout:
    """The tokens of id `token`, each of which reads the whole picture and looks at no place in it."""
    count = int((image.ids == token).sum())
    return laid_out(image, {"base": nowhere(count)}, "queries", token=token)


def tiled_layout(image: Placed, token: int, rows: int, columns: int, side: int) -> ImageLayout:
    """Rows x columns tiles of the stretched picture, then all of it in one; the latter alone where there is no tile.

    **Errors:** `ChiasmError` where the processor wrote another number of tokens of id `token`.
    """
    whole = shown(image)
    views = {"base": cells(whole, side, side)}
    if rows * columns:
        views = {"hd": tiles(whole, rows, columns, side)} | views
    return laid_out(image, views, f"{rows} x {columns} tiles of {side} x {side}, and a view of all", token=token)


def rows_with_breaks(image: Placed, size: Sequence[int], side: int) -> ImageLayout:
    """A picture of `size` (height, width) in cells of `side` pixels, a separator behind every row of them.

    Pixtral's: the separator of the last row is the token that ends the picture.
    """
    rows, columns = (int(pixels) // side for pixels in size)
    grid = cells(shown(image), rows, columns).reshape(rows, columns, 4)
    lines = np.concatenate([grid, np.full((rows, 1, 4), np.nan)], axis=1).reshape(-1, 4)
    newline = np.isnan(lines[:, 0])
    return laid_out(image, {"base": lines}, f"{rows} rows of {columns} and a break", newline=newline)


def each_frame(video: Placed, rects: Rects, how: str, *, token: int | None = None) -> tuple[ImageLayout, ...]:
    """The same `rects` in every frame of `video`, frame by frame."""
    if token is not None:
        chosen = video.ids == token
        video = video._replace(positions=video.positions[chosen], ids=video.ids[chosen])
    check_count(video, video.frames * len(rects), f"{video.frames} {how}")
    parts = np.split(video.positions, video.frames)
    return tuple(laid_out(video._replace(positions=positions), {"base": rects}, how) for positions in parts)
