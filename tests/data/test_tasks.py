"""The same pictures described and asked for objects."""

from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Box, Example, input_key
from chiasm.data import examples
from chiasm.data.scenes.stream import SCENES


def seen(name, *objects, **fields):
    boxes = tuple(Box(thing, 0, 0, 1, 1) for thing in objects)
    return Example(id=name, question="?", answer="x", images=(Path(f"/{name}.jpg"),), boxes=boxes, **fields)


WORLD = [
    seen("1", "cat", "dog", "owl", "Dog"),
    seen("2", "cat", "dog"),
    seen("3", "cat", "ant"),
    seen("4", "eel"),
    seen("5", "cat", "dog", "fox", "gnu", "hen"),
]


def asked(mode, world=WORLD, **options):
    by_image = {}
    for example in examples(world, task=f"pope-{mode}", **options):
        by_image.setdefault(example.id.partition("-")[0], []).append(example)
    return by_image


@pytest.mark.parametrize("mode", ["random", "popular", "adversarial"])
def test_as_many_objects_that_are_there_as_are_not(mode):
    for name, questions in asked(mode).items():
        there = {box.name.lower() for example in WORLD if example.id == name for box in example.boxes}
        yes = [e.question for e in questions if e.answer == "yes"]
        no = [e.question for e in questions if e.answer == "no"]
        assert len(yes) == len(no) == min(3, len(there))
        assert len({*yes, *no}) == len(questions)
        assert all(any(f" {thing} " in text for thing in there) for text in yes)
        assert not any(f" {thing} " in text for thing in there for text in no)
        assert [e.answer for e in questions] == ["yes", "no"] * len(yes)
        assert {e.type for e in questions} == {mode}


def test_popular_and_adversarial_negatives():
    assert [e.question for e in asked("popular")["4"]][1] == "Is there a cat in the image?"
    assert [e.question for e in asked("popular")["3"]][1] == "Is there a dog in the image?"
    world = [seen("1", "cat", "dog"), seen("2", "ant", "eel"), seen("3", "ant", "eel"), seen("4", "cat")]
    assert [e.question for e in asked("adversarial", world)["4"]][1] == "Is there a dog in the image?"
    assert [e.question for e in asked("popular", world)["4"]][1] in (
        "Is there an ant in the image?",
        "Is there an eel in the image?",
    )


def test_random_negatives_depend_on_the_seed_alone():
    first = [e.question for e in examples(WORLD, task="pope-random", seed=1)]
    assert first == [e.question for e in examples(WORLD, task="pope-random", seed=1)]
    assert first != [e.question for e in examples(WORLD, task="pope-random", seed=2)]
    assert first[:5] == [e.question for e in examples(WORLD, task="pope-random", seed=1, limit=5)]


def test_all_questions_on_a_picture_tell_its_objects():
    split = [replace(seen("1", "cat"), id="a"), replace(seen("1", "dog"), id="b"), seen("2", "owl")]
    questions = [e for e in examples(split, task="pope-random") if e.images == split[0].images]
    assert sorted(e.answer for e in questions) == ["no", "yes"]  # one object is left that is not there
    assert not any("dog" in e.question for e in questions if e.answer == "no")


def test_one_description_per_picture():
    world = [seen("1", "cat", captions=("one",)), replace(seen("1", captions=("two", "one")), id="b"), seen("2")]
    [example] = examples(world, task="caption")
    assert (example.captions, example.answer, example.question) == (("one", "two"), "", "Describe the image.")
    [video] = examples([replace(world[0], images=(), videos=(Path("v.mp4"),))], task="caption")
    assert video.question == "Describe the video."


def test_what_a_task_cannot_be_made_from():
    with pytest.raises(ChiasmError, match="no example has `captions`"):
        list(examples(WORLD, task="caption"))
    with pytest.raises(ChiasmError, match="name 0 kinds"):
        list(examples([seen("1")], task="pope-random"))
    with pytest.raises(ChiasmError, match="`pope`: there are qa, caption"):
        list(examples(WORLD, task="pope"))


def test_gqas_boxes_do_not_tell_what_is_absent(tmp_path):
    (tmp_path / "val_balanced_questions.json").write_text("{}")
    with pytest.raises(ChiasmError, match="boxes of GQA are those of one question"):
        examples(tmp_path, task="pope-random")


def test_scenes_know_all_their_objects():
    shapes = {number: {t.shape for t in SCENES.question(3, "heldout", number)[0].things} for number in range(40)}
    found = list(examples("scenes", limit=100, seed=3, task="pope-adversarial"))
    assert len(found) == 100
    assert Counter(e.answer for e in found) == {"yes": 50, "no": 50}
    for example in found:
        thing = example.question.removesuffix("?").split()[-1]
        number = int(example.id.split("-")[3])
        assert (thing in shapes[number]) == (example.answer == "yes")
    described = list(examples("scenes", limit=5, seed=3, task="caption"))
    plain = list(islice(examples("scenes", seed=3), 5))
    assert [input_key(e) for e in described] == [input_key(e) for e in plain]
    assert [{b.name for b in e.boxes} for e in described] == [shapes[n] for n in range(5)]
