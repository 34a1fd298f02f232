"""Where a patch lies in the original image: the image processor's own steps, followed as affine maps.

Legend: n patches. Rectangles are (x0, y0, x1, y1) in pixels, x to the right, y down, half-open.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from chiasm.core.example import Box


@dataclass(frozen=True, slots=True)
class Canvas:
    """An image on its way through an image processor, and where the original's pixels lie on it.

    On each axis: canvas = `scale` x original + `offset`. `width`, `height`: the canvas as it is now, in its own pixels.
    """

    width: int
    height: int
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)

    def resize(self, width: int, height: int) -> "Canvas":
        """Stretched to `width` x `height`. Interpolation reaches further than this map, by its kernel's radius."""
        fx, fy = width / self.width, height / self.height
        scale, offset = (self.scale[0] * fx, self.scale[1] * fy), (self.offset[0] * fx, self.offset[1] * fy)
        return Canvas(width, height, scale, offset)

    def fit(self, width: int, height: int, whole: Callable[[float], int]) -> "Canvas":
        """As large as `width` x `height` allows with its shape kept; `whole` makes pixels of the other side."""
        across, down = width / self.width, height / self.height
        if across < down:
            return self.resize(width, min(whole(self.height * across), height))
        return self.resize(min(whole(self.width * down), width), height)

    def frame(self, left: int, top: int, width: int, height: int) -> "Canvas":
        """The rectangle that starts at (`left`, `top`): a crop, or padding where it reaches outside."""
        return replace(self, width=width, height=height, offset=(self.offset[0] - left, self.offset[1] - top))

    def square(self) -> "Canvas":
        """Padded on both sides of the shorter axis to a square; an odd pixel goes right or below."""
        side = max(self.width, self.height)
        return self.frame(-((side - self.width) // 2), -((side - self.height) // 2), side, side)

    def cells(self, side: int, *, rows: int, columns: int) -> Float[np.ndarray, "rows columns 4"]:
        """The original pixels under a grid of square cells of `side` canvas pixels, from the top-left corner."""
        x = (np.arange(columns + 1) * side - self.offset[0]) / self.scale[0]
        y = (np.arange(rows + 1) * side - self.offset[1]) / self.scale[1]
        rects = np.empty((rows, columns, 4))
        rects[..., 0], rects[..., 2] = x[None, :-1], x[None, 1:]
        rects[..., 1], rects[..., 3] = y[:-1, None], y[1:, None]
        return rects


def touched(
    rects: Float[np.ndarray, "n 4"], boxes: Sequence[Box], width: int, height: int, fraction: float = 0.0
) -> Bool[np.ndarray, " n"]:
    """Which patches lie under any of `boxes`.

    A patch counts when a box covers any area of it (`fraction` 0), or at least `fraction` of its area. Boxes are
    clipped to the image of `width` x `height`, so a patch of padding is never touched; nor is a separator, whose
    rectangle is NaN.

    With `fraction` 0 this takes 4 to 6 % more patches than the released code of Zhang et al. 2025, and none fewer: that
    paints the boxes red, resizes, and looks for one pixel that is still pure red, which edges blended with their
    surroundings are not (5.8 % more over 400 drawn boxes in LLaVA-1.5's grid, the more the smaller the boxes).
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"a fraction of a patch lies in 0..1, got {fraction}")
    found = np.zeros(len(rects), dtype=bool)
    area = (rects[:, 2] - rects[:, 0]) * (rects[:, 3] - rects[:, 1])
    for box in boxes:
        x0, x1 = np.clip((box.x, box.x + box.w), 0, width)
        y0, y1 = np.clip((box.y, box.y + box.h), 0, height)
        w = np.clip(np.minimum(rects[:, 2], x1) - np.maximum(rects[:, 0], x0), 0, None)
        h = np.clip(np.minimum(rects[:, 3], y1) - np.maximum(rects[:, 1], y0), 0, None)
        # Edges that meet exactly in the original may differ by rounding after the way there and back.
        found |= (w * h > area * 1e-9) & (w * h >= area * fraction * (1 - 1e-9))
    return found
