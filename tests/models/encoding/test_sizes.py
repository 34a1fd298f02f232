"""Sizes of an image processor, however their user wrote them."""

from copy import deepcopy

import numpy as np
import pytest
from tests.support.factories import build, example
from transformers.image_utils import SizeDict

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Box
from chiasm.models.encoding.encode import encode
from chiasm.models.encoding.sizes import with_read_sizes
from chiasm.models.families import family_of


def encoded(model, processor, size=(64, 40)):
    return encode(processor, family_of(model.config), model.config, example(size=size))


@pytest.mark.parametrize("family", ["llava", "llava_next", "qwen2_vl", "llava_onevision", "idefics3"])
def test_plain_dicts_are_what_they_say(family):
    """Every size of the image processor set again as a plain dict gives the same inputs and the same places."""
    model, processor = build(family)
    expected = encoded(model, processor)
    written = deepcopy(processor)
    parts = [vars(written).get(name) for name in ("image_processor", "video_processor")]
    sizes = [(part, key) for part in parts if part for key, value in vars(part).items() if isinstance(value, SizeDict)]
    assert sizes
    for part, key in sizes:
        setattr(part, key, {name: value for name, value in dict(getattr(part, key)).items() if value is not None})
    found = encoded(model, written)
    assert found.input_ids.tolist() == expected.input_ids.tolist()
    assert np.array_equal(found.layouts[0].rects, expected.layouts[0].rects, equal_nan=True)
    assert all(type(getattr(part, key)) is dict for part, key in sizes), "the user's own processor is left alone"


def test_a_smaller_size_and_crop_change_what_is_seen():
    """Half the size, cropped to three quarters of it: the patches cover the middle, in the original's pixels."""
    model, processor = build("llava")
    written = deepcopy(processor)
    written.image_processor.size = {"shortest_edge": 56}
    written.image_processor.crop_size = {"height": 28, "width": 28}
    layout = encoded(model, written, (112, 56)).layouts[0]
    assert np.allclose(layout.rects[0], [42, 14, 49, 21])
    assert np.allclose(layout.rects[-1], [63, 35, 70, 42])


def test_a_number_is_a_size_too():
    model, processor = build("llava")
    written = deepcopy(processor)
    written.image_processor.crop_size = 28
    assert np.allclose(encoded(model, written).layouts[0].rects, encoded(model, processor).layouts[0].rects)


def test_a_processor_with_read_sizes_is_itself():
    processor = build("llava")[1]
    assert with_read_sizes(processor) is processor


def test_what_is_no_size_is_said():
    _, processor = build("llava")
    written = deepcopy(processor)
    written.image_processor.size = {"edge": 28}
    with pytest.raises(ChiasmError, match=r"read the sizes of the image processor.*edge.*shortest_edge"):
        with_read_sizes(written)


def test_an_object_that_is_cropped_away_is_named():
    """Of 640 x 160 pixels a centre crop leaves the middle 160: what stands at the left edge is not seen."""
    model, processor = build("llava")
    left, middle = Box("left", 0, 20, 60, 60), Box("middle", 300, 20, 60, 60)
    for boxes, unseen in (((left,), ("left",)), ((middle,), ()), ((left, middle), ("left",))):
        found = encode(processor, family_of(model.config), model.config, example(size=(640, 160), boxes=boxes))
        assert found.unseen == unseen
        assert bool(len(found.spans["image.object"])) == (middle in boxes)
    padded = deepcopy(processor)
    padded.image_processor.do_pad = True
    assert encode(padded, family_of(model.config), model.config, example(size=(640, 160), boxes=(left,))).unseen == ()


def test_a_patch_size_that_is_missing_is_named():
    model, processor = build("llava")
    written = deepcopy(processor)
    written.patch_size = None
    with pytest.raises(ChiasmError, match=r"`patch_size` is missing.*processor_config\.json.*config\.json has 7"):
        encoded(model, written)
    text = encode(written, family_of(model.config), model.config, example(images=0, boxes=()))
    assert len(text.spans["question"]), "text alone needs none"
