from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chiasm.core.example import Example, input_key


def pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (4, 4, 3), dtype=np.uint8)


def test_questions_on_one_image_share_a_key():
    one = Example(id="a", question="What?", images=(Path("/x/cat.jpg"),))
    assert input_key(one) == input_key(replace(one, id="b", question="Where?"))
    assert input_key(one) != input_key(replace(one, images=(Path("/x/dog.jpg"),)))


@pytest.mark.parametrize("form", [lambda a: a, Image.fromarray])
def test_media_in_memory_are_told_apart_by_content(form):
    first, same, other = (Example(id="a", question="?", images=(form(pixels(s)),)) for s in (0, 0, 1))
    assert input_key(first) == input_key(same) != input_key(other)


def test_an_image_is_not_a_video():
    image = Example(id="a", question="?", images=(pixels(0),))
    assert input_key(image) != input_key(replace(image, images=(pixels(0), pixels(1))))


def test_an_example_without_media_stands_alone():
    one = Example(id="a", question="?")
    assert input_key(one) != input_key(replace(one, id="b"))
