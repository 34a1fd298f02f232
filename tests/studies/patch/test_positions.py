"""Positions of two runs correspond part by part, or it is said why not."""

from types import SimpleNamespace

import numpy as np
import pytest

from chiasm.core.errors import EmptySpanError, ExampleError
from chiasm.core.positions import Spans
from chiasm.models.encoded import ImageLayout
from chiasm.studies.patch.positions import Correspondence


def encoded(image: int = 4, question: int = 3, size: tuple[int, int] = (60, 40), columns: int = 2):
    """Two of prefix, the image, the question, and the last one."""
    ends = np.cumsum([2, image, question, 1])
    names = ("prefix", "image", "question", "last")
    starts = [0, *ends[:-1]]
    places = {n: np.arange(a, b) for n, a, b in zip(names, starts, ends, strict=True)}
    rows = -(-image // columns)
    w, h = size[0] / columns, size[1] / rows
    rects = np.array(
        [[k % columns * w, k // columns * h, (k % columns + 1) * w, (k // columns + 1) * h] for k in range(image)]
    )
    layout = ImageLayout(
        places["image"], rects, np.array(["base"] * image), np.zeros(image, dtype=bool), *size
    )  # fmt: skip
    spans = Spans(int(ends[-1]), places | {"suffix": np.array([], dtype=int)})
    return SimpleNamespace(spans=spans, length=int(ends[-1]), layouts=(layout,))


def test_equal_runs_correspond_place_by_place():
    found = Correspondence(encoded(), encoded())
    assert found.of("image") == ((2, 3, 4, 5), (2, 3, 4, 5))
    assert found.of("question+last") == ((6, 7, 8, 9), (6, 7, 8, 9))


def test_what_stands_behind_a_longer_part_is_shifted():
    found = Correspondence(encoded(question=3), encoded(question=5))
    assert found.of("last") == ((9,), (11,))
    assert found.of("image")[1] == (2, 3, 4, 5)
    with pytest.raises(ExampleError, match="question: question has 3 tokens here and 5 in its donor"):
        found.of("question")
    known, theirs = found.known(np.arange(10))
    assert known.tolist() == [0, 1, 2, 3, 4, 5, 9]
    assert theirs.tolist() == [0, 1, 2, 3, 4, 5, 11]


def test_images_of_other_counts_and_shapes_are_refused():
    with pytest.raises(ExampleError, match="image has 4 tokens here and 6 in its donor"):
        Correspondence(encoded(), encoded(image=6)).of("image")
    with pytest.raises(ExampleError, match=r"60 x 40 and 40 x 60 pixels\) lie at different places"):
        Correspondence(encoded(), encoded(size=(40, 60), columns=4)).of("image")
    same = Correspondence(encoded(), encoded(size=(120, 80)))
    assert same.of("image")[1] == (2, 3, 4, 5), "only the share of the image counts"


def test_empty_spans_are_named():
    with pytest.raises(EmptySpanError, match="span `suffix` is empty"):
        Correspondence(encoded(), encoded()).of("suffix")
