"""Thumbnails of a run: small, each image once, and no reason to fail."""

import numpy as np
import pytest
from PIL import Image
from tests.support.rundirs import open_directory

from chiasm.core.example import Box, Example
from chiasm.core.media import load_image
from chiasm.results import images


def example(name, image, boxes=()):
    return Example(id=name, question="?", images=(image,), boxes=boxes)


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    Image.fromarray(np.full((300, 600, 3), 120, np.uint8)).save(path)
    return path


def test_an_image_is_kept_once_at_most_192_pixels_a_side(tmp_path, picture):
    with open_directory(tmp_path / "run") as run:
        boxes = (Box("ring", 60, 30, 300, 150),)
        images.keep_thumbnails(run, [example("a", picture, boxes), example("b", picture)])
        kept = images.thumbnails(run)
    assert kept["a"].file == kept["b"].file
    assert load_image(kept["a"].file).size == (192, 96)
    assert kept["a"].size == (600, 300)
    assert kept["a"].boxes == (Box("ring", 0.1, 0.1, 0.5, 0.5),)


def test_what_cannot_be_read_is_left_out_and_a_second_call_keeps_what_is_there(tmp_path, picture):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    with open_directory(tmp_path / "run") as run:
        images.keep_thumbnails(run, [example("a", picture), example("broken", broken)])
        images.keep_thumbnails(run, [example("a", broken), example("c", np.zeros((8, 8, 3), np.uint8))])
        kept = images.thumbnails(run)
    assert set(kept) == {"a", "c"}
    assert kept["a"].file != kept["c"].file
    assert load_image(kept["c"].file).size == (8, 8)


def test_no_more_are_kept_than_a_page_holds(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MAX_THUMBNAILS", 2)
    with open_directory(tmp_path / "run") as run:
        images.keep_thumbnails(run, [example(str(k), np.full((8, 8, 3), k, np.uint8)) for k in range(4)])
        assert set(images.thumbnails(run)) == {"0", "1"}


def test_an_image_in_memory_is_not_changed(tmp_path):
    given = Image.new("RGB", (400, 400))
    with open_directory(tmp_path / "run") as run:
        images.keep_thumbnails(run, [example("a", given)])
    assert given.size == (400, 400)


def test_a_run_without_thumbnails_has_none(tmp_path):
    with open_directory(tmp_path / "run") as run:
        assert images.thumbnails(run) == {}
