"""Minimal pairs of scenes differ in one attribute of one object, and their labels are what the scene says."""

from collections import Counter
from contextlib import suppress

import numpy as np
import pytest

from chiasm.core.errors import ExampleError
from chiasm.core.example import Example
from chiasm.data.scenes import TYPES, changed_answer, is_scene, same_answer, scenes
from chiasm.data.scenes import counterfactuals as module
from chiasm.data.scenes.questions import ask
from chiasm.data.scenes.stream import SCENES

EXAMPLES = list(scenes(limit=120))


def pairs():
    for one in EXAMPLES:
        with suppress(ExampleError):
            yield one, changed_answer(one)


@pytest.fixture(scope="module")
def found():
    return list(pairs())


def test_what_has_no_pair_says_why(found):
    there = {one.id for one, _ in found}
    without = [one for one in EXAMPLES if one.id not in there]
    assert {one.type for one in without} >= {"CompareAttr"}
    for one in without:
        with pytest.raises(ExampleError, match="no change of one attribute of one object gives the other answer"):
            changed_answer(one)


def facts(example: Example) -> set[str]:
    """What the fullest caption says, object by object."""
    [caption] = [one for one in example.captions if one.startswith("the ") and " is " in one.partition(".")[0]][:1]
    return {part.strip() for part in caption.split(".") if part.strip()}


def test_the_question_stays_and_the_answer_is_the_other(found):
    counts = Counter(one.type for one, _ in found)
    assert counts["ChooseAttr"] == counts["QueryAttr"] == 20, "these always have one"
    assert counts["CompareAttr"] == 0, "what two objects share takes two changes"
    for one, other in found:
        assert (one.question, one.options, one.type) == (other.question, other.options, other.type)
        assert one.answer != other.answer
        assert not one.options or other.answer in one.options
        assert other.id != one.id


def test_one_object_differs_and_all_others_are_the_same(found):
    for one, other in found:
        before, after = facts(one), facts(other)
        assert len(before) == len(after)
        assert len(before - after) == len(after - before) == 1


def test_pixels_differ_where_the_object_is_alone(found):
    for one, other in found:
        a, b = (np.asarray(example.images[0], dtype=int) for example in (one, other))
        changed = (a != b).any(axis=-1)
        assert changed.any()
        assert changed.mean() < 0.25, "one object of a scene is no more than that"


def test_labels_are_what_the_scene_says(found):
    """By asking the changed scene anew, until the question comes out the same: the question's own code, not ours."""
    import random

    checked = 0
    for one, other in found:
        scene, question = module._drawn(one.id)
        changed, _ = module._changed_scene(one.id, scene, question, other=True)
        rng = random.Random(0)
        for _ in range(400):
            again = ask(changed, one.type, rng.random() < 0.5, rng)
            if again is not None and again.text == one.question:
                assert again.answer == other.answer
                checked += 1
                break
    assert checked > len(found) // 2


def test_answers_of_the_stream_are_found_again():
    for number in range(60):
        scene, question = SCENES.question(3, "all", number)
        assert module.answer_of(scene, question) == question.answer, question
    assert {SCENES.question(3, "all", number)[1].type for number in range(6)} == set(TYPES)


def test_other_changes_leave_both_answers(found):
    for one, other in found:
        own, donor = same_answer(one), same_answer(one, of=other)
        assert (own.question, own.answer) == (one.question, one.answer)
        assert (donor.question, donor.answer) == (other.question, other.answer)
        assert len({one.id, other.id, own.id, donor.id}) == 4


def test_a_pair_depends_on_its_example_alone():
    one = EXAMPLES[0]
    first, again = changed_answer(one), changed_answer(one)
    assert first.id == again.id
    assert np.array_equal(np.asarray(first.images[0]), np.asarray(again.images[0]))


def test_boxes_follow_the_object(found):
    for one, other in found:
        if one.type in ("ChooseAttr", "QueryAttr"):
            assert [box.name for box in one.boxes] == [box.name for box in other.boxes]
            moved = one.type == "QueryAttr"
            assert (one.boxes[0][1:] != other.boxes[0][1:]) == moved


def test_what_is_no_scene_is_told_apart():
    assert all(is_scene(one) for one in EXAMPLES)
    assert not is_scene(Example(id="mine", question="What?"))
    assert not is_scene(Example(id=EXAMPLES[0].id, question="Another question?"))
    with pytest.raises(ValueError, match="no example of scenes"):
        changed_answer(Example(id="mine", question="What?"))
