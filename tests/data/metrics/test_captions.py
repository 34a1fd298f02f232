"""CIDEr-D against values worked by hand, and CHAIR on texts whose objects are known."""

import math

import numpy as np
import pytest

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Box, Example
from chiasm.data.metrics import Answered, cider_d, measure, objects, objects_for, read_objects

COCO_LINES = [
    ["person", "man", "baby", "passenger"],
    ["train", "locomotive"],
    ["airplane", "jet", "air plane"],
    ["bird", "duck"],
    ["chair", "seat", "stool"],
    ["toilet"],
    ["knife"],
    ["hot dog"],
    ["dog", "puppy"],
    ["skis", "ski"],
    ["wine glass"],
    ["motorcycle", "motor bike"],
]
COCO = objects(COCO_LINES)


def test_cider_by_hand():
    # Two pictures: `a` stands in the references of both (weight log 2 - log 2 = 0), all else in one (weight log 2).
    references = [["a cat"], ["a dog"]]
    # The same words: cosine 1 for single words and for pairs, no longer n-grams: 10 x (1 + 1 + 0 + 0) / 4.
    assert cider_d(["a cat", "a dog"], references).tolist() == pytest.approx([5, 5])
    # One word short: single words agree, pairs do not; length penalty exp(-1 / 72).
    assert cider_d(["Cat!", "bird"], references).tolist() == pytest.approx([10 / 4 * math.exp(-1 / 72), 0])
    # `cat` twice: clipped to once. Weights (2, 0) log 2 against (1, 0) log 2: cosine 1 x 1 / (2 x 1).
    assert cider_d(["cat cat", "x"], references)[0] == pytest.approx(10 / 4 * 0.5)
    # A word that no reference has weighs log 2 - log 1: the cosine falls to 1 / sqrt 2.
    assert cider_d(["cat zebra", "x"], references)[0] == pytest.approx(10 / 4 / math.sqrt(2))


def test_cider_is_a_mean_over_references():
    one, other = [["a cat", "the mat"], ["a dog"]], [["the mat"], ["a dog"]]
    both = cider_d(["the mat", "a dog"], one)[0]
    assert both == pytest.approx(cider_d(["the mat", "a dog"], other)[0] / 2)


def test_cider_needs_a_corpus_and_references():
    with pytest.raises(ChiasmError, match="two or more"):
        cider_d(["a cat"], [["a cat"]])
    with pytest.raises(ChiasmError, match="no caption to compare"):
        cider_d(["a cat", "a dog"], [["a cat"], []])
    assert np.array_equal(cider_d(["", "."], [["a cat"], ["a dog"]]), [0, 0])


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Two men and a duck.", ["person", "bird"]),
        ("a baby bird, baby birds", ["bird", "bird"]),
        ("a passenger train on a train track", ["train"]),
        ("a passenger jet", ["airplane"]),
        ("the seat of a chair", ["chair", "chair"]),
        ("the seat of the toilet", ["toilet"]),
        ("a toilet seat", ["toilet"]),
        ("knives and a hot dog", ["knife", "hot dog"]),
        ("hot dogs near the dog's puppy", ["hot dog", "dog", "dog"]),
        ("a pair of skis; wine glasses", ["skis", "wine glass"]),
        ("an AIR PLANE and an air-plane", ["airplane"]),
        ("dogma and chairman", []),
        ("", []),
    ],
)
def test_the_objects_that_a_text_names(text, named):
    assert COCO.mentions(text) == named


def test_chair_counts_mentions_and_texts():
    def shown(text, *names, captions=()):
        boxes = tuple(Box(name, 0, 0, 1, 1) for name in names)
        return Answered(Example(id=text, question="?", boxes=boxes, captions=captions), text)

    rows = [
        shown("a dog and a puppy and a cat and a man", "dog"),  # cat is not in the list: not seen
        shown("a bird", captions=("a duck swims",)),  # there by the caption
        shown("nothing of note", "dog", "train"),
    ]
    i, s, recall, words = measure("chair", rows, COCO)
    assert (i.parts.tolist(), i.wholes.tolist()) == ([1, 0, 0], [3, 1, 0])
    assert s.parts.tolist() == [1, 0, 0]
    assert (recall.parts.tolist(), recall.wholes.tolist()) == ([1, 1, 0], [1, 1, 2])
    assert words.parts.tolist() == [11, 2, 3]
    with pytest.raises(ChiasmError, match="no list of objects"):
        measure("chair", rows)
    with pytest.raises(ChiasmError, match="no example has boxes"):
        measure("chair", [shown("x")], COCO)


def test_a_list_of_objects_in_the_published_layout(tmp_path):
    path = tmp_path / "synonyms.txt"
    # As published: a space too many, a word twice, a line with one word.
    path.write_text("motorcycle, scooter,  motor bike, scooter\nelephant\nsheep, lamb, \n\n")
    found = read_objects(path)
    assert found.names == {"motorcycle", "elephant", "sheep"}
    assert found.mentions("lambs on a motor bike") == ["sheep", "motorcycle"]
    path.write_text("\n")
    with pytest.raises(ChiasmError, match="names none"):
        read_objects(path)
    with pytest.raises(ChiasmError, match="No such file"):
        read_objects(tmp_path / "gone.txt")


def test_a_box_whose_name_has_no_word_is_counted_and_names_nothing(caplog):
    boxes = (Box("dog", 0, 0, 1, 1), Box("?!", 0, 0, 1, 1), Box(" ", 0, 0, 1, 1))
    rows = [Answered(Example(id="a", question="?", boxes=boxes), "a dog"), Answered(Example(id="b", question="?"), "!")]
    known = objects_for([item.example for item in rows])
    i, _, recall, _ = measure("chair", rows, known)
    assert (i.parts.tolist(), i.wholes.tolist()) == ([0, 0], [1, 0])
    assert (recall.parts.tolist(), recall.wholes.tolist()) == ([1, 0], [1, 0])
    assert "2 boxes have a name without a word" in caplog.text
