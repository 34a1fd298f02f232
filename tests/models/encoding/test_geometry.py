"""Where patches look: paint a box red, run the real image processor, and find the red again."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.support.factories import build
from transformers import (
    CLIPImageProcessorPil,
    LlavaImageProcessor,
    LlavaImageProcessorPil,
    LlavaNextImageProcessor,
    LlavaNextImageProcessorPil,
    Qwen2VLImageProcessor,
    Qwen2VLImageProcessorPil,
    SiglipImageProcessor,
)
from transformers.models.llava_next.modeling_llava_next import get_anyres_image_grid_shape, unpad_image

from chiasm.core.example import Box, Example
from chiasm.models.encoded import Encoded
from chiasm.models.encoding.encode import encode
from chiasm.models.families import family_of
from chiasm.models.geometry import Canvas, touched

_SQUARE = {"size": {"shortest_edge": 28}, "crop_size": {"height": 28, "width": 28}}
_TILES = {"image_grid_pinpoints": [[28, 56], [56, 28], [56, 56], [84, 28], [28, 84]]}
_NATIVE = {"size": {"shortest_edge": 4 * 28 * 28, "longest_edge": 20 * 28 * 28}}
_BOTH = {"size": {"height": 28, "width": 28}}


@dataclass(frozen=True)
class Setup:
    """A processor with one kind of image preprocessing, and how many pixels a token is wide after it."""

    family: str
    steps: Any
    side: int

    def encode(self, image: Image.Image) -> tuple[Encoded, Any]:
        config, processor = _ready(self.family)
        processor.image_processor = self.steps
        example = Example(id="0", question="What?", images=(image,))
        return encode(processor, family_of(config), config, example), config


@functools.cache
def _ready(family: str) -> tuple[Any, Any]:
    model, processor = build(family, layers=1)
    return model.config, processor


SETUPS = {
    "llava crops (pil)": Setup("llava", LlavaImageProcessorPil(**_SQUARE), 7),
    "llava crops (torchvision)": Setup("llava", LlavaImageProcessor(**_SQUARE), 7),
    "llava pads (pil)": Setup("llava", LlavaImageProcessorPil(**_SQUARE, do_pad=True), 7),
    "llava pads (torchvision)": Setup("llava", LlavaImageProcessor(**_SQUARE, do_pad=True), 7),
    "llava crops to less (pil)": Setup("llava", LlavaImageProcessorPil(**_SQUARE | {"size": {"shortest_edge": 33}}), 7),
    "llava pads what is small (pil)": Setup("llava", LlavaImageProcessorPil(**_SQUARE, do_resize=False), 7),
    "llava pads what is small (torchvision)": Setup("llava", LlavaImageProcessor(**_SQUARE, do_resize=False), 7),
    "clip crops": Setup("llava", CLIPImageProcessorPil(**_SQUARE), 7),
    "siglip stretches": Setup("llava", SiglipImageProcessor(**_BOTH), 7),
    "llava-next (pil)": Setup("llava_next", LlavaNextImageProcessorPil(**_SQUARE, **_TILES), 7),
    "llava-next (torchvision)": Setup("llava_next", LlavaNextImageProcessor(**_SQUARE, **_TILES), 7),
    "qwen (pil)": Setup("qwen2_vl", Qwen2VLImageProcessorPil(**_NATIVE), 28),
    "qwen (torchvision)": Setup("qwen2_5_vl", Qwen2VLImageProcessor(**_NATIVE), 28),
}


def _redness(setup: Setup, encoded: Encoded, config: Any) -> np.ndarray:
    """The reddest pixel under each token, 0..1, through the model's own packing; -1 for separators."""
    pixels = encoded.inputs["pixel_values"]
    if setup.side == 28:
        pixels = pixels.reshape(len(pixels) // 4, 4, 3, 2, 14, 14).permute(0, 2, 1, 3, 4, 5).flatten(2)
        return redder(pixels, setup.steps).amax(-1).numpy()
    if pixels.ndim == 4:
        return _patch_max(redder(pixels[0].flatten(1), setup.steps).view(pixels.shape[2:])).flatten().numpy()
    views = [_patch_max(redder(view.flatten(1), setup.steps).view(view.shape[1:])) for view in pixels[0]]
    size = encoded.inputs["image_sizes"][0].tolist()
    down, across = get_anyres_image_grid_shape(size, config.image_grid_pinpoints, config.vision_config.image_size)
    whole = torch.cat([torch.cat(views[1 + r * across : 1 + (r + 1) * across], 1) for r in range(down)], 0)
    fine = unpad_image(whole[None], size)[0]
    lines = torch.cat([fine, torch.full((len(fine), 1), -1.0)], 1)
    return torch.cat([views[0].flatten(), lines.flatten()]).numpy()


def redder(pixels: torch.Tensor, steps: Any) -> torch.Tensor:
    """How much redder than anything else (channels on the last axis but one, undone normalisation)."""
    mean, std = torch.tensor(steps.image_mean)[:, None], torch.tensor(steps.image_std)[:, None]
    r, g, b = (pixels * std + mean).unbind(-2)
    return r - torch.maximum(g, b)


def _patch_max(image: torch.Tensor, side: int = 7) -> torch.Tensor:
    return torch.nn.functional.max_pool2d(image[None], side)[0]


def painted(width: int, height: int, box: tuple[int, int, int, int]) -> Image.Image:
    picture = np.zeros((height, width, 3), dtype=np.uint8)
    x, y, w, h = box
    picture[y : y + h, x : x + w, 0] = 255
    return Image.fromarray(picture)


_SIDES = st.integers(8, 120)


@st.composite
def pictures(draw, widths=_SIDES, heights=_SIDES):
    width, height = draw(widths), draw(heights)
    x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return width, height, (x, y, draw(st.integers(1, width - x)), draw(st.integers(1, height - y)))


@pytest.mark.parametrize("name", SETUPS)
@settings(max_examples=25, deadline=None)
@given(pictures())
def test_what_was_painted_is_found_where_geometry_says(name, picture):
    width, height, box = picture
    setup = SETUPS[name]
    encoded, config = setup.encode(painted(width, height, box))
    red, layout = _redness(setup, encoded, config), encoded.layouts[0]
    assert len(red) == len(layout.rects) == len(encoded.spans["image"])
    x, y, w, h = box
    for tile in np.unique(layout.tile):
        chosen = (layout.tile == tile) & ~layout.newline
        rects = layout.rects[chosen]
        if not len(rects):
            continue
        # Interpolation mixes neighbours: one resampled pixel of tolerance, in pixels of the original.
        dx, dy = (rects[0, 2:] - rects[0, :2]) / setup.side
        grown = Box("", x - dx, y - dy, w + 2 * dx, h + 2 * dy)
        shrunk = Box("", x + dx, y + dy, max(w - 2 * dx, 0), max(h - 2 * dy, 0))
        found = red[chosen]
        assert not np.any((found > 0.5) & ~touched(rects, [grown], width, height))
        assert not np.any(touched(rects, [shrunk], width, height) & ~(found > 0.2))
    assert not np.any(touched(layout.rects, [Box("", *box)], width, height) & layout.newline)


# Sizes at which the named step moves pixels without mixing them: what is found must be exactly what geometry says.
_EXACT = {
    "llava crops (pil)": [(28, 28), (41, 28), (28, 60), (28, 61)],
    "llava crops (torchvision)": [(28, 28), (41, 28), (28, 60), (28, 61)],
    "llava crops to less (pil)": [(33, 33), (33, 50), (64, 33)],
    "llava pads (pil)": [(28, 28), (28, 15), (9, 28), (28, 8)],
    "llava pads (torchvision)": [(28, 28), (28, 15), (9, 28), (28, 8)],
    "llava pads what is small (pil)": [(9, 13), (28, 11), (30, 8), (15, 41)],
    "llava pads what is small (torchvision)": [(9, 13), (28, 11), (30, 8), (15, 41)],
    "clip crops": [(28, 28), (35, 28), (28, 39)],
    "siglip stretches": [(28, 28)],
    "llava-next (pil)": [(56, 56), (56, 41), (39, 56), (84, 19), (28, 80)],
    "llava-next (torchvision)": [(56, 56), (56, 41), (39, 56), (84, 19), (28, 80)],
    "qwen (pil)": [(56, 56), (112, 56), (56, 140)],
    "qwen (torchvision)": [(56, 56), (112, 56), (56, 140)],
}


@pytest.mark.parametrize("name", SETUPS)
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_without_interpolation_they_agree_exactly(name, data):
    size = data.draw(st.sampled_from(_EXACT[name]))
    width, height, box = data.draw(pictures(st.just(size[0]), st.just(size[1])))
    setup = SETUPS[name]
    encoded, config = setup.encode(painted(width, height, box))
    red, layout = _redness(setup, encoded, config), encoded.layouts[0]
    exact = layout.tile == ("hd" if setup.family == "llava_next" else "base")
    expected = touched(layout.rects, [Box("", *box)], width, height)
    assert np.array_equal((red > 0.99)[exact], expected[exact])


@pytest.mark.parametrize("name", SETUPS)
@settings(max_examples=10, deadline=None)
@given(width=st.integers(1, 150), height=st.integers(1, 150))
def test_patches_tile_without_gap_or_overlap(name, width, height):
    encoded, _ = SETUPS[name].encode(painted(width, height, (0, 0, 1, 1)))
    layout = encoded.layouts[0]
    for tile in np.unique(layout.tile):
        rects = layout.rects[(layout.tile == tile) & ~layout.newline]
        if not len(rects):
            continue
        assert np.all(rects[:, 2:] > rects[:, :2])
        bounds = np.concatenate([rects[:, :2].min(0), rects[:, 2:].max(0)])
        areas = np.prod(rects[:, 2:] - rects[:, :2], axis=1)
        assert areas.sum() == pytest.approx(np.prod(bounds[2:] - bounds[:2]), rel=1e-9)
        whole = tile == "base" and ("pads (" in name or not name.startswith(("llava crops", "llava pads", "clip")))
        if whole:
            assert np.all(bounds[:2] <= 1e-9)
            assert np.all(bounds[2:] >= np.array([width, height]) - 1e-9)


def test_a_box_outside_or_without_area_touches_nothing():
    rects = Canvas(20, 10).frame(-2, -2, 24, 14).cells(2, rows=7, columns=12).reshape(-1, 4)
    for box in (Box("", 20, 0, 5, 5), Box("", -9, -9, 9, 9), Box("", 3, 3, 0, 4), Box("", 50, 50, 1, 1)):
        assert not touched(rects, [box], 20, 10).any()
    # A box over the edge touches patches of the picture, none of the padding around it.
    over = touched(rects, [Box("", -5, -5, 100, 100)], 20, 10)
    assert over.sum() == (20 // 2) * (10 // 2)


def test_fraction_asks_for_a_share_of_the_patch():
    rects = Canvas(8, 4).cells(4, rows=1, columns=2).reshape(-1, 4)
    box = [Box("", 1, 0, 5, 4)]  # covers 3/4 of the first patch and 1/2 of the second
    assert touched(rects, box, 8, 4).tolist() == [True, True]
    assert touched(rects, box, 8, 4, 0.5).tolist() == [True, True]
    assert touched(rects, box, 8, 4, 0.6).tolist() == [True, False]
    assert touched(rects, box, 8, 4, 1.0).tolist() == [False, False]
    with pytest.raises(ValueError, match=r"0\.\.1"):
        touched(rects, box, 8, 4, 1.5)
