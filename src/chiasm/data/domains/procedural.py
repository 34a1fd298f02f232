"""Procedural domains: surfaces (twelve patterns) and leaves (one leaf on soil or sky, and what ails it)."""

from collections.abc import Callable
from typing import Final

import numpy as np
from PIL import Image

from chiasm.core.errors import ChiasmError
from chiasm.data.domains.base import Domain, DomainPart, Item, make_domain

SIDE: Final = 96
SURFACES: Final = (
    *("striped", "dotted", "checkered", "woven", "cracked", "wavy"),
    *("spiral", "marbled", "grainy", "scaly", "zigzag", "crosshatched"),
)
LEAVES: Final = ("healthy", "rust", "blight", "mildew", "scab", "spot", "mosaic", "wilt", "rot", "scorch")
_GRID: Final = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="xy")).astype(np.float64)


def surface(label: str, rng: np.random.Generator) -> Image.Image:
    """An image of SIDE x SIDE pixels with that pattern: two colours, light from one side, and grain."""
    pattern = _pattern(label, rng)
    low, high = _colours(rng)
    image = low + pattern[..., None] * (high - low)
    angle = rng.uniform(0, 2 * np.pi)
    light = (np.cos(angle) * _GRID[0] + np.sin(angle) * _GRID[1]) / SIDE - 0.5
    image = image * (1 + rng.uniform(0, 0.2) * light[..., None]) + rng.normal(0, rng.uniform(2, 10), image.shape)
    return Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))


def _colours(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A dark and a light colour."""
    return rng.uniform(10, 70, 3), rng.uniform(190, 250, 3)


def _turned(rng: np.random.Generator, max_angle: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates after a random turn and shift, in pixels."""
    angle, (dx, dy) = rng.uniform(-max_angle, max_angle), rng.uniform(0, SIDE, 2)
    x, y = _GRID[0] + dx, _GRID[1] + dy
    return np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x


def smooth(rng: np.random.Generator, cells: int) -> np.ndarray:
    """A random landscape in 0..1 with about `cells` hills along a side."""
    small = Image.fromarray(rng.uniform(0, 1, (cells + 2, cells + 2)).astype(np.float32), mode="F")
    return np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=np.float64)


def _soft(values: np.ndarray, edge: float = 0.25) -> np.ndarray:
    return np.clip(values / edge * 0.5 + 0.5, 0, 1)


def _pattern(label: str, rng: np.random.Generator) -> np.ndarray:
    """The pattern in 0..1."""
    period = rng.uniform(13, 19)
    u, v = (2 * np.pi * w / period for w in _turned(rng))
    match label:
        case "striped":
            return _soft(np.sin(u + 0.6 * smooth(rng, 3)) + rng.uniform(-0.4, 0.4))
        case "wavy":
            return _soft(np.sin(u + rng.uniform(1.0, 2.2) * np.sin(v * rng.uniform(0.3, 0.6))))
        case "zigzag":
            return _soft(np.sin(u + rng.uniform(1.2, 2.4) * np.arcsin(np.sin(v * rng.uniform(0.3, 0.6)))))
        case "crosshatched":
            lean = rng.uniform(0.6, 1.4)
            return _soft(np.maximum(np.sin(u), np.sin(np.cos(lean) * u + np.sin(lean) * v)) - rng.uniform(0.5, 0.8))
        case "checkered":
            return _soft(np.sin(u) * np.sin(v))
        case "woven":
            over = np.sin(u / 2) * np.sin(v / 2) > 0
            return np.clip(np.where(over, np.abs(np.sin(u / 2)), np.abs(np.sin(v / 2))) * 1.3 - 0.3, 0, 1)
        case "dotted":
            return _soft(np.cos(u) + np.cos(v) - rng.uniform(0.7, 1.3))
        case "scaly":
            row = np.floor(v / np.pi)
            across = np.mod(u + np.pi * np.mod(row, 2), 2 * np.pi) / np.pi - 1
            return np.clip(np.hypot(across, np.mod(v, np.pi) / np.pi), 0, 1.2) / 1.2
        case "spiral":
            x, y = _GRID - rng.uniform(0.25, 0.75, (2, 1, 1)) * SIDE
            return _soft(np.sin(2 * np.pi * np.hypot(x, y) / period + rng.choice([-2, -1, 1, 2]) * np.arctan2(y, x)))
        case "marbled":
            return _soft(np.sin(u * 0.6 + rng.uniform(4, 8) * smooth(rng, 5) + 2 * smooth(rng, 11)), 0.8)
        case "grainy":
            return _soft(smooth(rng, int(rng.integers(14, 40))) - 0.5, 0.6)
        case "cracked":
            points = rng.uniform(-8, SIDE + 8, (int(rng.integers(14, 40)), 2))
            away = np.sort(np.hypot(*(_GRID[k][..., None] - points[:, k] for k in (0, 1))), axis=-1)
            return _soft(away[..., 1] - away[..., 0] - rng.uniform(1.2, 3), 2.5)
    raise ValueError(f"no surface is called {label!r}")


def leaf(label: str, rng: np.random.Generator) -> Image.Image:
    """An image of SIDE x SIDE pixels: background, blade with midrib and veins, lesions, grain."""
    along, across, inside = _blade(rng, droop=rng.uniform(0.6, 1.1) if label == "wilt" else rng.uniform(0, 0.45))
    green = np.array([rng.uniform(50, 85), rng.uniform(125, 160), rng.uniform(40, 65)])
    if label == "wilt":
        green = green * 0.75 + np.array([45, 30, 10])
    blade = green * (0.85 + 0.3 * smooth(rng, 4)[..., None])
    veins = (np.abs(across) < 0.03) | (np.abs(np.sin(7 * np.pi * (along - np.abs(across) * 0.6))) < 0.06)
    blade = np.where(veins[..., None], blade * 1.15 + 8, blade)
    for cover, colour in _lesions(label, along, across, rng):
        blade = blade + cover[..., None] * (np.asarray(colour) + rng.normal(0, 6, 3) - blade)
    ground = rng.uniform(215, 240, 3) * (0.95 + 0.1 * smooth(rng, 3)[..., None])
    image = np.where(inside[..., None], blade, ground)
    image = image * rng.uniform(0.9, 1.1) + rng.normal(0, rng.uniform(2, 5), image.shape)
    return Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))


def _blade(rng: np.random.Generator, droop: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coordinates along (0 stalk, 1 tip) and across (-1..1 at the margin) the leaf, and which pixels it covers."""
    angle, length = rng.uniform(-0.4, 0.4), rng.uniform(86, 94)
    x, y = _GRID - (SIDE / 2 + rng.uniform(-5, 5, (2, 1, 1)))
    along = (np.cos(angle) * x + np.sin(angle) * y) / length + 0.5
    side = (np.cos(angle) * y - np.sin(angle) * x) / length + droop * (along - 0.5) ** 2 - droop / 12
    half = rng.uniform(0.38, 0.46) * np.sin(np.pi * np.clip(along, 0, 1) ** rng.uniform(0.7, 1.1)) + 1e-6
    across = side / half
    return along, across, (along > 0) & (along < 1) & (np.abs(across) < 1)


def _spots(
    rng: np.random.Generator, count: int, low: float, high: float, rough: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Cover in 0..1 of round spots with radii in pixels, and the distance to the nearest centre over its radius."""
    nearest = np.full((SIDE, SIDE), np.inf)
    for _ in range(count):
        x, y = rng.uniform(14, SIDE - 14, 2)
        nearest = np.minimum(nearest, np.hypot(_GRID[0] - x, _GRID[1] - y) / rng.uniform(low, high))
    nearest = nearest + rough * (smooth(rng, 16) - 0.5)
    return np.clip(3 * (1 - nearest) + 0.5, 0, 1), nearest


def _lesions(
    label: str, along: np.ndarray, across: np.ndarray, rng: np.random.Generator
) -> list[tuple[np.ndarray, tuple[float, float, float]]]:
    """Covers in 0..1 and their colours, laid on in order."""
    margin = np.maximum(np.abs(across), np.abs(2 * along - 1))
    match label:
        case "healthy":
            return []
        case "rust":
            return [(0.85 * _spots(rng, int(rng.integers(25, 70)), 1.2, 2.6)[0], (190, 95, 30))]
        case "spot":
            cover, away = _spots(rng, int(rng.integers(4, 10)), 4, 8)
            return [(cover, (90, 55, 30)), (cover * (away < 0.6), (205, 190, 150))]
        case "scab":
            return [(0.85 * _spots(rng, int(rng.integers(6, 16)), 3, 7, rough=0.9)[0], (70, 75, 40))]
        case "mildew":
            powder = np.clip(3 * (smooth(rng, 6) - 0.5), 0, 1) * rng.uniform(0.55, 0.85)
            return [(powder, (225, 228, 222))]
        case "mosaic":
            return [(np.clip(4 * (smooth(rng, 9) - 0.45), 0, 1) * 0.75, (205, 205, 70))]
        case "blight":
            front = along + 0.5 * (smooth(rng, 4) - 0.5) - rng.uniform(0.4, 0.7)
            return [(np.clip(front * 8, 0, 1) * 0.9, (115, 80, 45))]
        case "rot":
            cover, away = _spots(rng, int(rng.integers(1, 3)), 13, 22, rough=0.3)
            return [(cover * 0.9, (60, 40, 30)), (cover * (np.sin(away * 16) > 0.3) * 0.5, (120, 85, 60))]
        case "scorch":
            edge = margin + 0.35 * (smooth(rng, 9) - 0.5) - rng.uniform(0.7, 0.82)
            return [(np.clip(edge * 9, 0, 1) * 0.9, (145, 95, 45))]
        case "wilt":
            return [(np.clip(2 * (smooth(rng, 3) - 0.5), 0, 1) * 0.5, (165, 150, 80))]
    raise ValueError(f"no leaf is called {label!r}")


_DRAWN: Final[dict[str, tuple[tuple[str, ...], Callable[[str, np.random.Generator], Image.Image], str]]] = {
    "surfaces": (SURFACES, surface, "surface textures"),
    "leaves": (LEAVES, leaf, "plant leaf diseases"),
}
PROCEDURAL: Final = tuple(_DRAWN)
_SIZES: Final[dict[DomainPart, int]] = {"train": 32, "validation": 6, "test": 20}
"""Images per class of the procedural domains."""


def drawn_domain(name: str, topic: str | None, limit: int | None) -> Domain:
    """Classes take turns, so that a smaller number is still balanced; every image depends on its own number alone."""
    classes, draw, words = _DRAWN[name]
    if limit is not None and limit < 1:
        raise ChiasmError(f"take {limit} images", "that is none", "Ask for at least one")

    def items(part: DomainPart) -> tuple[Item, ...]:
        made = []
        for number in range(min(_SIZES[part] * len(classes), limit or 10**9)):
            label, key = classes[number % len(classes)], f"{name}-{part}-{number:04d}"
            made.append(Item(key, draw(label, np.random.default_rng(list(key.encode()))), label))
        return tuple(made)

    return make_domain(
        name, topic or words, items("train"), items("test"), validation=items("validation"), classes=classes
    )
