"""Grids of tokens over a picture that was stretched to a square, as SigLIP's processor does."""

import math

import numpy as np

from chiasm.models.encoded import ImageLayout
from chiasm.models.families.base import Placed, check_count
from chiasm.models.geometry import Canvas


def square_layout(image: Placed, token: int) -> ImageLayout:
    """The tokens of id `token` as a square grid over the whole stretched picture, row by row.

    **Errors:** `ChiasmError` where they do not fill a square.
    """
    positions = image.positions[image.ids == token]
    side = math.isqrt(len(positions))
    check_count(image._replace(positions=positions), side**2, "a square grid over the whole picture")
    rects = Canvas(image.width, image.height).resize(side, side).cells(1, rows=side, columns=side).reshape(-1, 4)
    count = len(positions)
    return ImageLayout(positions, rects, np.full(count, "base"), np.zeros(count, dtype=bool), image.width, image.height)
