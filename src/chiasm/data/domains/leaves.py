"""Procedural leaves: one leaf on soil or sky, and what ails it."""

from typing import Final

import numpy as np
from PIL import Image

from chiasm.data.domains.surfaces import SIDE, smooth

LEAVES: Final = ("healthy", "rust", "blight", "mildew", "scab", "spot", "mosaic", "wilt", "rot", "scorch")
_GRID: Final = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="xy")).astype(np.float64)


def leaf(label: str, rng: np.random.Generator) -> Image.Image:
    """A picture of SIDE x SIDE pixels: background, blade with midrib and veins, lesions, grain."""
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
    picture = np.where(inside[..., None], blade, ground)
    picture = picture * rng.uniform(0.9, 1.1) + rng.normal(0, rng.uniform(2, 5), picture.shape)
    return Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))


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
