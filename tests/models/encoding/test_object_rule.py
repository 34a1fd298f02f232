"""Which patches stand for an object, beside the released rule: boxes painted red, resized, one pure pixel left."""

import numpy as np
from PIL import Image

from chiasm.core.example import Box
from chiasm.models.geometry import touched

SIDE, PATCH = 336, 14


def red_pixel_rule(box: Box, width: int, height: int) -> np.ndarray:
    """Patches of LLaVA-1.5's grid (square padding, bicubic) with a pixel that is exactly red."""
    painted = np.zeros((height, width, 3), np.uint8)
    painted[..., 1] = 255
    painted[int(box.y) : int(box.y + box.h), int(box.x) : int(box.x + box.w)] = (255, 0, 0)
    square = max(width, height)
    padded = Image.new("RGB", (square, square), (122, 116, 104))
    padded.paste(Image.fromarray(painted), ((square - width) // 2, (square - height) // 2))
    pure = (np.asarray(padded.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) == (255, 0, 0)).all(-1)
    cells = SIDE // PATCH
    return pure.reshape(cells, PATCH, cells, PATCH).any((1, 3)).ravel()


def under(box: Box, width: int, height: int) -> np.ndarray:
    square = max(width, height)
    step = PATCH * square / SIDE
    edges = np.arange(SIDE // PATCH) * step
    x, y = np.meshgrid(edges - (square - width) // 2, edges - (square - height) // 2)
    rects = np.stack([x, y, x + step, y + step], -1).reshape(-1, 4)
    return touched(rects, [box], width, height)


def test_any_cover_takes_a_few_percent_more_patches_than_a_pure_pixel_and_none_fewer():
    rng, ours, released = np.random.default_rng(0), 0, 0
    for width, height in [(640, 480), (480, 640), (500, 375)] * 40:
        w, h = int(rng.integers(20, width // 2)), int(rng.integers(20, height // 2))
        box = Box(name="it", x=int(rng.integers(0, width - w)), y=int(rng.integers(0, height - h)), w=w, h=h)
        own, pure = under(box, width, height), red_pixel_rule(box, width, height)
        assert not (pure & ~own).any()
        ours, released = ours + own.sum(), released + pure.sum()
    assert 1.03 < ours / released < 1.08
