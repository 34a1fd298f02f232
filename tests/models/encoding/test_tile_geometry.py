"""Where the tokens of tiles, thumbnails and row-broken grids look: paint a box red, and find the red again."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from tests.models.encoding.test_geometry import painted, pictures, redder
from tests.support.factories import build
from tests.support.factories_tiles import llava_pixtral
from torch.nn.functional import max_pool2d
from transformers import (
    GotOcr2ImageProcessor,
    GotOcr2ImageProcessorPil,
    Idefics3ImageProcessor,
    Idefics3ImageProcessorPil,
    JanusImageProcessor,
    JanusImageProcessorPil,
    PixtralImageProcessor,
    PixtralImageProcessorPil,
    SmolVLMImageProcessor,
    SmolVLMImageProcessorPil,
)

from chiasm.core.example import Box, Example
from chiasm.models.encoded import Encoded
from chiasm.models.encoding.encode import encode
from chiasm.models.families import family_of
from chiasm.models.geometry import touched

_IDEFICS = {"size": {"longest_edge": 84}, "max_image_size": {"longest_edge": 28}}
_ONE = _IDEFICS | {"do_image_splitting": False}
_SQUARE = {"size": {"height": 28, "width": 28}}
_FEW = _SQUARE | {"min_patches": 2, "max_patches": 5}


def by_view(encoded: Encoded, steps: Any, side: int) -> np.ndarray:
    """The reddest pixel of every token, view after view."""
    views = encoded.inputs["pixel_values"].reshape(-1, *encoded.inputs["pixel_values"].shape[-3:])
    return np.concatenate([_pooled(view, steps, side).flatten().numpy() for view in views])


def by_row(encoded: Encoded, steps: Any, side: int) -> np.ndarray:
    """The same row by row, -1 for the break behind each."""
    found = _pooled(encoded.inputs["pixel_values"][0], steps, side)
    return torch.cat([found, torch.full((len(found), 1), -1.0)], 1).flatten().numpy()


def _pooled(view: torch.Tensor, steps: Any, side: int) -> torch.Tensor:
    return max_pool2d(redder(view.flatten(1), steps).view(1, *view.shape[1:]), side)[0]


@dataclass(frozen=True)
class Setup:
    """A family with one image processor; `side`: how many of its pixels a token is wide; `red`: where it finds red."""

    family: str
    steps: Any
    side: int = 14
    red: Callable[[Encoded, Any, int], np.ndarray] = by_view


SETUPS = {
    "idefics3 (pil)": Setup("idefics3", Idefics3ImageProcessorPil(**_IDEFICS)),
    "idefics3 (torchvision)": Setup("idefics3", Idefics3ImageProcessor(**_IDEFICS)),
    "idefics3 in one (pil)": Setup("idefics3", Idefics3ImageProcessorPil(**_ONE)),
    "smolvlm (pil)": Setup("smolvlm", SmolVLMImageProcessorPil(**_IDEFICS)),
    "smolvlm (torchvision)": Setup("smolvlm", SmolVLMImageProcessor(**_IDEFICS)),
    "internvl (pil)": Setup("internvl", GotOcr2ImageProcessorPil(**_SQUARE, max_patches=6)),
    "internvl (torchvision)": Setup("internvl", GotOcr2ImageProcessor(**_SQUARE, max_patches=6)),
    "internvl, few tiles (pil)": Setup("internvl", GotOcr2ImageProcessorPil(**_FEW)),
    "internvl, one view (pil)": Setup("internvl", GotOcr2ImageProcessorPil(**_SQUARE, max_patches=1)),
    "mistral3 (pil)": Setup("mistral3", PixtralImageProcessorPil(size={"longest_edge": 90}, patch_size=7), red=by_row),
    "mistral3 (torchvision)": Setup(
        "mistral3", PixtralImageProcessor(size={"longest_edge": 90}, patch_size=7), red=by_row
    ),
    "llava with pixtral's tower": Setup(
        "llava", PixtralImageProcessorPil(size={"longest_edge": 40}, patch_size=7), 7, by_row
    ),
    "janus (pil)": Setup("janus", JanusImageProcessorPil(**_SQUARE, min_size=7), 7),
    "janus (torchvision)": Setup("janus", JanusImageProcessor(**_SQUARE, min_size=7), 7),
}


@functools.cache
def _ready(family: str) -> tuple[Any, Any]:
    model, processor = llava_pixtral() if family == "llava" else build(family)
    return model.config, processor


def _encode(setup: Setup, width: int, height: int, box: tuple[int, int, int, int]) -> tuple[Encoded, np.ndarray]:
    config, processor = _ready(setup.family)
    processor.image_processor = setup.steps
    example = Example(id="0", question="What?", images=(painted(width, height, box),))
    encoded = encode(processor, family_of(config), config, example)
    return encoded, setup.red(encoded, setup.steps, setup.side)


@pytest.mark.parametrize("name", SETUPS)
@settings(max_examples=25, deadline=None)
@given(pictures())
def test_what_was_painted_is_found_where_geometry_says(name, picture):
    width, height, box = picture
    encoded, red = _encode(SETUPS[name], width, height, box)
    (layout,) = encoded.layouts
    assert len(red) == len(layout.rects) == len(encoded.spans["image"])
    assert np.array_equal(layout.newline, red == -1)
    x, y, w, h = box
    for tile in np.unique(layout.tile):
        chosen = (layout.tile == tile) & ~layout.newline
        rects = layout.rects[chosen]
        # Interpolation mixes neighbours: its kernel's reach of tolerance, in pixels of the original.
        dx, dy = np.maximum(3 * (rects[0, 2:] - rects[0, :2]) / SETUPS[name].side, 1.0)
        grown = Box("", x - dx, y - dy, w + 2 * dx, h + 2 * dy)
        shrunk = Box("", x + dx, y + dy, max(w - 2 * dx, 0), max(h - 2 * dy, 0))
        found = red[chosen]
        assert not np.any((found > 0.5) & ~touched(rects, [grown], width, height))
        assert not np.any(touched(rects, [shrunk], width, height) & ~(found > 0.2))


# Sizes at which no step mixes pixels in the named views: what is found must be exactly what geometry says.
_EXACT = {
    "idefics3 (pil)": ((84, 84), (84, 28), (28, 84), (84, 56)),
    "smolvlm (torchvision)": ((84, 84), (84, 28), (56, 84)),
    "internvl (pil)": ((56, 56), (84, 56), (28, 84), (168, 28)),
    "internvl (torchvision)": ((56, 56), (56, 84), (84, 28)),
    "mistral3 (pil)": ((56, 28), (84, 70), (14, 42)),
    "mistral3 (torchvision)": ((56, 28), (84, 70), (14, 42)),
    "llava with pixtral's tower": ((35, 21), (28, 28), (7, 35)),
    "janus (pil)": ((28, 28), (28, 15), (9, 28), (28, 10)),
    "janus (torchvision)": ((28, 28), (28, 15), (9, 28), (28, 10)),
}


@pytest.mark.parametrize(("name", "size"), [(name, size) for name, sizes in _EXACT.items() for size in sizes])
def test_without_interpolation_they_agree_exactly(name, size):
    rng = np.random.default_rng(sum(size))
    width, height = size
    for _ in range(6):
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        box = (x, y, int(rng.integers(1, width - x + 1)), int(rng.integers(1, height - y + 1)))
        encoded, red = _encode(SETUPS[name], width, height, box)
        (layout,) = encoded.layouts
        # Where there are tiles, the view of the whole picture is made smaller.
        exact = layout.tile == ("hd" if "hd" in layout.tile else "base")
        expected = touched(layout.rects, [Box("", *box)], width, height)
        assert np.array_equal((red > 0.99)[exact], expected[exact])
        assert expected.any()


def test_tiles_are_of_every_count():
    """The sizes above are not all of one arrangement."""
    counts = {len(_encode(SETUPS["internvl (pil)"], *size, (0, 0, 1, 1))[1]) // 4 for size in _EXACT["internvl (pil)"]}
    assert counts == {5, 7, 4}
