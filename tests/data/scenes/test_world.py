"""The world's laws: what the seed picks, how it is split, and that boxes are exact."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chiasm.data.scenes import TYPES, Scene, draw_scene, render, scenes
from chiasm.data.scenes.questions import ask
from chiasm.data.scenes.world import CELL, COLUMNS, ROWS, SHAPES, SIDE, SIZES, place


@st.composite
def any_scene(draw):
    return draw_scene(random.Random(draw(st.integers(0, 2**32))), draw(st.integers(1, 4)))


@given(any_scene())
@settings(max_examples=100, deadline=None)
def test_only_the_boxes_differ_from_the_background(scene):
    pixels = np.asarray(render(scene))
    assert pixels.shape == (SIDE, SIDE, 3)
    painted = (pixels != scene.background).any(axis=2)
    for thing in scene.things:
        box = thing.box
        inside = painted[box.y : box.y + box.h, box.x : box.x + box.w]
        # The drawing touches every side of its box...
        assert inside[0].any()
        assert inside[-1].any()
        assert inside[:, 0].any()
        assert inside[:, -1].any()
        painted[box.y : box.y + box.h, box.x : box.x + box.w] = False
    # ...and nothing is drawn elsewhere.
    assert not painted.any()


@given(any_scene())
@settings(max_examples=100, deadline=None)
def test_objects_stay_in_their_cells_and_differ_in_shape(scene):
    cells = {(ROWS.index(t.row), COLUMNS.index(t.column)) for t in scene.things}
    assert len(cells) == len({t.shape for t in scene.things}) == len(scene.things)
    for thing in scene.things:
        row, column = ROWS.index(thing.row), COLUMNS.index(thing.column)
        assert column * CELL <= thing.x < thing.x + thing.extent <= (column + 1) * CELL
        assert row * CELL <= thing.y < thing.y + thing.extent <= (row + 1) * CELL
        assert (thing.extent >= 20) == (thing.size == "large")


@given(any_scene(), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_the_split_sees_content_only(scene, rng):
    things = list(scene.things)
    rng.shuffle(things)
    moved = Scene(tuple(place(rng, *_words(t)) for t in things), background=221)
    assert moved.words == scene.words
    assert moved.split() == scene.split()


def _words(thing):
    return thing.shape, thing.color, thing.size, thing.row, thing.column


def test_a_seed_picks_the_scenes():
    first, again = list(scenes(3, limit=12)), list(scenes(3, limit=12))
    assert [(e.id, e.question, e.answer, e.captions, e.boxes) for e in first] == [
        (e.id, e.question, e.answer, e.captions, e.boxes) for e in again
    ]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first, again, strict=True))
    assert [e.captions for e in first] != [e.captions for e in scenes(4, limit=12)]


def test_start_continues_the_stream():
    whole = [e.id for e in scenes(1, limit=20)]
    assert whole == [e.id for e in scenes(1, limit=8)] + [e.id for e in scenes(1, limit=12, start=8)]


def test_train_and_held_out_share_no_content():
    rng = random.Random(0)
    sides = {}
    for _ in range(3000):
        scene = draw_scene(rng, 1)
        assert sides.setdefault(scene.words, scene.split()) == scene.split()
    assert 0.05 < sum(side == "heldout" for side in sides.values()) / len(sides) < 0.15


def test_types_and_answers_are_balanced():
    examples = list(scenes(0, limit=1200))
    for kind in TYPES:
        answers = [e.answer for e in examples if e.type == kind]
        assert len(answers) == 200
        assert max(answers.count(a) for a in set(answers)) == 100
        firsts = [e.options[0] == e.answer for e in examples if e.type == kind and len(e.options) == 2]
        if firsts and kind != "LogicalObj":
            assert 0.35 < sum(firsts) / len(firsts) < 0.65


def test_answers_follow_from_the_scene():
    for seed in range(300):
        rng = random.Random(seed)
        scene = draw_scene(rng)
        for kind in TYPES:
            question = ask(scene, kind, rng.random() < 0.5, rng)
            if question is None:
                continue
            assert all(thing in scene.things for thing in question.about)
            # Only where nothing asked about is there, there is no box to cut.
            assert question.about or (kind, question.answer) == ("LogicalObj", "no")
            match kind:
                case "ChooseAttr":
                    assert question.answer == question.about[0].color
                case "ChooseCat":
                    assert question.answer == question.about[0].shape
                case "ChooseRel":
                    a, b = (COLUMNS.index(t.column) for t in question.about)
                    assert question.answer == ("left" if a < b else "right")
                case "CompareAttr":
                    a, b = question.about
                    assert (a.color == b.color) != (a.size == b.size)
                    assert question.answer == ("color" if a.color == b.color else "size")
                case "LogicalObj":
                    names = [shape for shape in SHAPES if shape in question.text.rstrip("?").split()]
                    assert len(names) == 2
                    assert question.answer == ("yes" if any(scene.find(name) for name in names) else "no")
                case _:
                    assert question.answer == question.about[0].column


def test_captions_tell_everything():
    for example in scenes(5, limit=20):
        for told in example.captions[:4]:
            words = told.replace(",", "").replace(".", "").replace(":", "").split()
            for box in example.boxes:
                assert box.name in words
            assert sum(word in SHAPES for word in words) == sum(word in SIZES for word in words)


@pytest.mark.parametrize("asked", [{"split": "test"}, {"types": ("Colour",)}, {"types": ()}])
def test_what_is_not_there_is_refused(asked):
    with pytest.raises(ValueError):
        scenes(**asked)
