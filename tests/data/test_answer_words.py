"""Which words an answer has, what kind each is of, and which objects are there: by lists, and by nothing else."""

from dataclasses import replace

import pytest
from tests.support import factories

from chiasm.core.example import Box
from chiasm.data.answer_words import (
    FUNCTION,
    GROUPS,
    NOT_THERE,
    NUMBER,
    OBJECT,
    OBJECTS,
    OTHER,
    THERE,
    YES_NO,
    Vocabulary,
    scene_classes,
    written_words,
)
from chiasm.data.metrics.objects import objects
from chiasm.data.scenes import TYPES, scenes

COCO = objects(
    [["person", "man", "woman"], ["traffic light"], ["dog", "puppy"], ["hot dog"], ["toilet"], ["chair", "seat"]]
)
SCENES = Vocabulary(objects([["circle"], ["square"], ["star"]]), scene_classes("scenes"))


def with_objects(*names, captions=()):
    boxes = tuple(Box(name, 1, 1, 5, 5) for name in names)
    return replace(factories.example(), boxes=boxes, captions=tuple(captions))


def found(text, example=None, vocabulary=SCENES):
    return [(w.text, w.kind, w.group) for w in written_words(text, example or with_objects("circle"), vocabulary)]


def test_words_of_a_scene_by_class_and_what_is_there():
    words = found("The small red circle is left of 3 stars, isn’t it? Yes: shiny.")
    assert words == [
        ("The", FUNCTION, "function words"), ("small", "size", "sizes"), ("red", "colour", "colours"),
        ("circle", OBJECT, THERE), ("is", FUNCTION, "function words"), ("left", "place", "places"),
        ("of", FUNCTION, "function words"), ("3", NUMBER, "numbers"), ("stars", OBJECT, NOT_THERE),
        ("isn’t", FUNCTION, "function words"), ("it", FUNCTION, "function words"), ("Yes", YES_NO, "yes or no"),
        ("shiny", OTHER, "other words"),
    ]  # fmt: skip
    assert {group for _, _, group in words} <= set(GROUPS)


def test_an_object_named_in_several_words_is_one_and_rules_of_chair_hold():
    vocabulary = Vocabulary(COCO)
    example = with_objects("traffic light", "Toilet", captions=["A man eats a hot dog."])
    words = found("A woman, two Traffic Lights, a hot dog, a puppy and a toilet with a seat", example, vocabulary)
    assert [(text, group) for text, kind, group in words if kind == OBJECT] == [
        ("woman", THERE), ("Traffic Lights", THERE), ("hot dog", THERE), ("puppy", NOT_THERE), ("toilet", THERE),
    ]  # fmt: skip
    # In a text with a toilet no seat is a chair: it stays a word, but is no object.
    assert words[-1] == ("seat", OTHER, "other words")


def test_where_nothing_is_known_of_the_input_objects_are_neither():
    assert found("a circle", with_objects()) == [("a", FUNCTION, "function words"), ("circle", OBJECT, OBJECTS)]
    assert found("a circle", vocabulary=Vocabulary()) == [
        ("a", FUNCTION, "function words"), ("circle", OTHER, "other words"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("... !?", []),
        ("blue-green, don't 3.5; 1,000", ["blue-green", "don't", "3.5", "1,000"]),
        ("Ein İnsan größer 赤い丸", ["Ein", "İnsan", "größer", "赤い丸"]),
    ],
)
def test_words_by_marks_and_in_any_script(text, words):
    written = written_words(text, with_objects(), Vocabulary())
    assert [one.text for one in written] == words
    assert all(text[one.start : one.stop] == one.text for one in written)


def test_captions_of_scenes_hold_no_word_that_is_not_known_and_none_is_hallucinated():
    """The world's own descriptions are what its vocabulary has to cover."""
    from chiasm.data.metrics.objects import objects_for

    vocabulary = Vocabulary(objects_for((), "scenes"), scene_classes("scenes"))
    for example in scenes(limit=3 * len(TYPES)):
        for caption in example.captions:
            groups = {word.group for word in written_words(caption, example, vocabulary)}
            assert THERE in groups
            assert not groups & {NOT_THERE, OBJECTS, "other words"}, caption


def test_worlds_and_other_data():
    assert "up" in scene_classes("scenes-video")["place"]
    assert "up" not in scene_classes("scenes")["place"]
    assert scene_classes("my.jsonl") == scene_classes("scenes-audio") == {}
