"""Scenes as images: anti-aliased flat shapes whose bounding boxes are exact to the pixel."""

import math
from functools import cache
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from chiasm.data.scenes.world import SIDE, Scene

PALETTE: Final[dict[str, tuple[int, int, int]]] = {
    "red": (214, 39, 40),
    "orange": (255, 140, 0),
    "yellow": (240, 212, 20),
    "green": (44, 140, 60),
    "blue": (40, 80, 200),
    "purple": (120, 50, 160),
    "pink": (245, 130, 190),
    "black": (25, 25, 25),
}
# What a model that is shown nothing sees.
BLANK: Final = (128, 128, 128)
_FINE: Final = 8


def render(scene: Scene) -> Image.Image:
    """The scene as an RGB image of `SIDE` x `SIDE` pixels; pixels outside the objects' boxes are background."""
    canvas = np.full((SIDE, SIDE, 3), scene.background, dtype=np.float32)
    for thing in scene.things:
        cover = _cover(thing.shape, thing.extent)[..., None]
        area = canvas[thing.y : thing.y + thing.extent, thing.x : thing.x + thing.extent]
        area += cover * (np.array(PALETTE[thing.color], dtype=np.float32) - area)
    return Image.fromarray(np.rint(canvas).astype(np.uint8))


def blank() -> Image.Image:
    """A mid-grey image of the same size: what is left when the image is taken away."""
    return Image.new("RGB", (SIDE, SIDE), BLANK)


@cache
def _cover(shape: str, extent: int) -> np.ndarray:
    """How much of each pixel the shape covers, `(extent, extent)` in 0..1: drawn fine, then averaged."""
    side = extent * _FINE
    image = Image.new("L", (side, side), 0)
    _paint(ImageDraw.Draw(image), shape, side)
    fine = np.asarray(image, dtype=np.float32) / 255
    return fine.reshape(extent, _FINE, extent, _FINE).mean(axis=(1, 3))


def _paint(pen: ImageDraw.ImageDraw, shape: str, side: int) -> None:
    last = side - 1
    if shape in ("circle", "ring"):
        pen.ellipse((0, 0, last, last), fill=255)
        if shape == "ring":
            pen.ellipse((side * 0.28, side * 0.28, last - side * 0.28, last - side * 0.28), fill=0)
        return
    pen.polygon([(x * last, y * last) for x, y in _outline(shape)], fill=255)


@cache
def _outline(shape: str) -> tuple[tuple[float, float], ...]:
    """The corners of a shape, stretched so that it touches all four sides of the unit square."""
    points = _corners(shape)
    xs, ys = [x for x, _ in points], [y for _, y in points]
    width, height = max(xs) - min(xs), max(ys) - min(ys)
    return tuple(((x - min(xs)) / width, (y - min(ys)) / height) for x, y in points)


def _corners(shape: str) -> list[tuple[float, float]]:
    match shape:
        case "square":
            return [(0, 0), (1, 0), (1, 1), (0, 1)]
        case "triangle":
            return [(0.5, 0), (1, 1), (0, 1)]
        case "diamond":
            return [(0.5, 0), (1, 0.5), (0.5, 1), (0, 0.5)]
        case "cross":
            a, b = 0.32, 0.68
            return [(a, 0), (b, 0), (b, a), (1, a), (1, b), (b, b), (b, 1), (a, 1), (a, b), (0, b), (0, a), (a, a)]
        case "star":
            turns = [-math.pi / 2 + k * math.pi / 5 for k in range(10)]
            radii = [1.0 if k % 2 == 0 else 0.42 for k in range(10)]
            return [(r * math.cos(t), r * math.sin(t)) for t, r in zip(turns, radii, strict=True)]
        case "heart":
            turns = [k * math.pi / 24 for k in range(48)]
            return [
                (
                    16 * math.sin(t) ** 3,
                    -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)),
                )
                for t in turns
            ]
        case _:
            raise ValueError(f"no shape is called {shape!r}; the world has circle, ring and the polygons above")
