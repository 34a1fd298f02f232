"""Everything that can change a row changes the fingerprint, and nothing else does."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chiasm.core.example import Box, Example, input_key
from chiasm.data.fingerprint import fingerprint


@pytest.fixture
def picture(tmp_path) -> Path:
    path = tmp_path / "a" / "1.png"
    path.parent.mkdir()
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(path)
    return path


@pytest.fixture
def example(picture) -> Example:
    boxes = (Box("cat", 0, 0, 2, 2),)
    about = {"answer": "yes", "answers": ("yes", "no"), "options": ("yes", "no"), "type": "t", "captions": ("a cat",)}
    return Example(id="e", question="Is it?", images=(picture,), boxes=boxes, **about)


CHANGES = {
    "ids": {"id": "f"},
    "questions": {"question": "Is it not?"},
    "answers": {"answers": ("yes", "yes")},
    "options": {"options": ("no", "yes")},
    "types": {"type": "u"},
    "boxes": {"boxes": (Box("cat", 0, 0, 2, 3),)},
    "captions": {"captions": ("a dog",)},
    "images": {"images": (np.zeros((4, 4, 3), dtype=np.uint8),)},
    "videos": {"videos": (Path("v.mp4"),)},
    "sounds": {"audios": (Path("s.wav"),)},
}


@pytest.mark.parametrize("field", CHANGES)
def test_what_changed_is_named(example, field):
    before, after = fingerprint([example]), fingerprint([replace(example, **CHANGES[field])])
    assert [name for name in before["fields"] if before["fields"][name] != after["fields"][name]] == [field]
    assert before["hash"] != after["hash"]


def test_the_place_of_the_files_does_not_matter_and_a_pixel_does(example, picture, tmp_path, monkeypatch):
    before, key = fingerprint([example]), input_key(example)
    moved = tmp_path / "elsewhere" / "cat.png"
    moved.parent.mkdir()
    shutil.copy(picture, moved)
    assert fingerprint([replace(example, images=(moved,))]) == before
    assert input_key(replace(example, images=(moved,))) == key
    monkeypatch.chdir(moved.parent)
    assert fingerprint([replace(example, images=(Path("cat.png"),))]) == before
    pixels = np.array(Image.open(picture))
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(picture)
    assert fingerprint([example])["fields"]["images"] != before["fields"]["images"]


def test_what_cannot_be_read_is_no_obstacle(example, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("missing.png", "pipe", "x" * 300, "with\0null"):
        fingerprint([replace(example, images=(tmp_path / name,))])
