"""Square grids of tokens over a picture that was stretched or cropped to a square."""

import math

import numpy as np

from chiasm.models.encoded import ImageLayout
from chiasm.models.families.base import Placed, check_count
from chiasm.models.geometry import Canvas


def square_layout(image: Placed, token: int) -> ImageLayout:
    """The tokens of id `token` as a grid over the whole stretched picture, row by row.

    **Errors:** `ChiasmError` where they do not fill a square.
    """
    return grid_layout(image, token, Canvas(image.width, image.height).resize(1, 1))


def grid_layout(image: Placed, token: int, canvas: Canvas) -> ImageLayout:
    """The tokens of id `token` as a grid over a square `canvas`, row by row.

    **Errors:** `ChiasmError` where they do not fill a square.
    """
    positions = image.positions[image.ids == token]
    side = math.isqrt(len(positions))
    check_count(image._replace(positions=positions), side**2, "a square grid over the picture")
    rects = canvas.resize(side, side).cells(1, rows=side, columns=side).reshape(-1, 4)
    return ImageLayout(positions, rects, *_plain(len(positions)), image.width, image.height)


def placeless_layout(image: Placed, token: int) -> ImageLayout:
    """The tokens of id `token`, each of which reads the whole picture and looks at no place in it."""
    positions = image.positions[image.ids == token]
    return ImageLayout(
        positions, np.full((len(positions), 4), np.nan), *_plain(len(positions)), image.width, image.height
    )


def _plain(count: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full(count, "base"), np.zeros(count, dtype=bool)
