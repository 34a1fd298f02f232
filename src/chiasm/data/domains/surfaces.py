"""Procedural surfaces: twelve patterns in any colours, angles and sizes, some of them hard to tell apart."""

from typing import Final

import numpy as np
from PIL import Image

SIDE: Final = 96
SURFACES: Final = (
    *("striped", "dotted", "checkered", "woven", "cracked", "wavy"),
    *("spiral", "marbled", "grainy", "scaly", "zigzag", "crosshatched"),
)
_GRID: Final = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="xy")).astype(np.float64)


def surface(label: str, rng: np.random.Generator) -> Image.Image:
    """A picture of SIDE x SIDE pixels with that pattern: two colours, light from one side, and grain."""
    pattern = _pattern(label, rng)
    low, high = _colours(rng)
    picture = low + pattern[..., None] * (high - low)
    angle = rng.uniform(0, 2 * np.pi)
    light = (np.cos(angle) * _GRID[0] + np.sin(angle) * _GRID[1]) / SIDE - 0.5
    picture = picture * (1 + rng.uniform(0, 0.2) * light[..., None]) + rng.normal(0, rng.uniform(2, 10), picture.shape)
    return Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))


def _colours(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A dark and a light colour."""
    return rng.uniform(10, 70, 3), rng.uniform(190, 250, 3)


def _turned(rng: np.random.Generator, most: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates after a random turn and shift, in pixels."""
    angle, (dx, dy) = rng.uniform(-most, most), rng.uniform(0, SIDE, 2)
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
