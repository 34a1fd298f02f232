"""Rules for places, on numbers of tokens and sizes alone."""

import numpy as np
import pytest
import torch
from transformers import CLIPImageProcessorPil

from chiasm.models.families.base import Medium
from chiasm.models.generic.places import RULES, UNKNOWN, Seen, places


class Processor:
    image_processor = CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})


def seen(count, width=240, height=180, per_tile=0, **inputs):
    image = Medium(0, np.arange(count), np.zeros(count, dtype=int), width, height)
    return Seen(image, count, inputs, Processor(), per_tile)


def test_a_grid_that_the_processor_returned_is_merged_until_it_fits():
    found = places("the processor's grid over the stretched image", seen(12, grid=torch.tensor([[1, 6, 8]])))
    assert found.rects.shape == (12, 4)
    assert found.rects[0].tolist() == [0, 0, 60, 60]
    assert found.rects[-1].tolist() == [180, 120, 240, 180]
    assert not found.newline.any()


def test_a_separator_behind_every_row_looks_nowhere():
    found = places("the processor's grid over the stretched image", seen(15, grid=torch.tensor([[3, 4]])))
    assert np.flatnonzero(found.newline).tolist() == [4, 9, 14]
    assert np.isnan(found.rects[4]).all()
    assert found.rects[5].tolist() == [0, 60, 60, 120]


def test_crops_and_padding_move_the_grid():
    crop = places("a square grid over the resized and cropped image", seen(16))
    # 240 x 180 to 37 x 28, of which 28 x 28 in the middle are kept: the sides are not seen.
    assert crop.rects[:, 0].min() == pytest.approx(4 * 240 / 37)
    both = places("a square grid over the image padded on both sides", seen(16))
    assert (both.rects[0, 1], both.rects[-1, 3]) == (-30, 210)
    behind = places("a square grid over the image padded behind", seen(16))
    assert (behind.rects[0, 1], behind.rects[-1, 3]) == (0, 240)


def test_tiles_take_the_shape_of_the_image_and_a_view_of_all_its_place():
    before = places("tiles, then the whole image, stretched", seen(3 * 4, width=300, height=100, per_tile=4))
    assert before.tile.tolist() == ["hd"] * 8 + ["base"] * 4
    assert before.rects[0].tolist() == [0, 0, 75, 50]
    assert before.rects[4].tolist() == pytest.approx([150, 0, 225, 50])
    after = places("the whole image, then tiles, stretched", seen(3 * 4, width=300, height=100, per_tile=4))
    assert after.tile.tolist() == ["base"] * 4 + ["hd"] * 8
    alone = places("tiles, then the whole image, stretched", seen(4, per_tile=4))
    assert alone.tile.tolist() == ["base"] * 4


@pytest.mark.parametrize("rule", [UNKNOWN, "a square grid over the stretched image", RULES[0], RULES[-1]])
def test_a_rule_that_does_not_fit_places_nothing(rule):
    assert places(rule, seen(15)) is None


def test_every_rule_places_every_token_once_where_it_fits():
    for rule in RULES:
        found = places(rule, seen(16, width=160, height=160, per_tile=4, grid=torch.tensor([[4, 4]])))
        if found is not None:
            assert len(found.rects) == len(found.tile) == len(found.newline) == 16, rule
