"""The laws of scenes that move: who moves where, what the frames show, and that questions tell nothing alone."""

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chiasm.core.media import Clip
from chiasm.data.scenes import VIDEO_TYPES, draw_moving, render, scenes_video
from chiasm.data.scenes.moving import FRAMES, STYLES, WAYS, ask_moving, describe_moving
from chiasm.data.scenes.world import CELL, COLUMNS, ROWS, SIDE


@st.composite
def any_moving(draw):
    return draw_moving(random.Random(draw(st.integers(0, 2**32))), draw(st.sampled_from((None, 2, 3))))


@given(any_moving())
@settings(max_examples=100, deadline=None)
def test_movers_go_one_cell_and_the_others_stand(scene):
    first, last = scene.frame(0), scene.frame(FRAMES - 1)
    assert 1 <= len(scene.moving) <= 2
    assert scene.still
    for actor, a, b in zip(scene.actors, first.things, last.things, strict=True):
        assert actor.thing == a
        moved = (b.x - a.x, b.y - a.y)
        assert (
            moved
            == {None: (0, 0), "left": (-CELL, 0), "right": (CELL, 0), "up": (0, -CELL), "down": (0, CELL)}[actor.way]
        )
        assert abs(ROWS.index(b.row) - ROWS.index(a.row)) + abs(COLUMNS.index(b.column) - COLUMNS.index(a.column)) == (
            actor.way is not None
        )


@given(any_moving())
@settings(max_examples=60, deadline=None)
def test_no_frame_loses_or_covers_an_object(scene):
    for frame in scene.frames():
        painted = (np.asarray(render(frame)) != frame.background).any(axis=2)
        owned = np.zeros((SIDE, SIDE), dtype=int)
        for thing in frame.things:
            owned[thing.y : thing.y + thing.extent, thing.x : thing.x + thing.extent] += 1
            assert painted[thing.y, thing.x : thing.x + thing.extent].any()
        assert owned.max() == 1
        assert not painted[owned == 0].any()


@given(any_moving(), st.sampled_from(VIDEO_TYPES), st.booleans(), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_answers_follow_from_the_frames(scene, kind, wanted, rng):
    question = ask_moving(scene, kind, wanted, rng)
    if question is None:
        return
    first, last = scene.frame(0), scene.frame(FRAMES - 1)
    moved = {a.shape for a, b in zip(first.things, last.things, strict=True) if (a.x, a.y) != (b.x, b.y)}
    asked = question.about[0]
    match kind:
        case "Direction":
            there = last.find(asked.shape)
            assert (question.answer == "right") == (there.x > asked.x)
            assert wanted == (question.answer == "left")
        case "WhichMoves":
            assert set(question.options) & moved == {question.answer}
            assert wanted == (question.answer == "circle")
        case "MovingColor":
            assert moved == {asked.shape}
            assert question.answer == asked.color
            assert "red" in question.options
        case "StillSize":
            assert asked.shape not in moved
            assert question.answer == asked.size
        case _:
            assert question.answer == ("yes" if asked.shape in moved else "no")
    assert question.answer in question.options


def test_captions_tell_every_movement():
    rng = random.Random(3)
    for _ in range(30):
        scene = draw_moving(rng)
        for style in range(len(STYLES)):
            told = describe_moving(scene, rng, style)
            assert sum(told.count(f"{verb} {way}") for verb in ("moves", "moving") for way in WAYS) == len(scene.moving)
            assert all(word in told for actor in scene.actors for word in actor.thing.content)


def test_the_stream_is_balanced_split_and_repeatable():
    made, again = list(scenes_video(2, limit=60)), list(scenes_video(2, limit=60))
    assert [(e.id, e.question, e.answer, e.captions) for e in made] == [
        (e.id, e.question, e.answer, e.captions) for e in again
    ]
    for kind in VIDEO_TYPES:
        answers = Counter(e.answer for e in made if e.type == kind)
        assert max(answers.values()) == 6
    clip = made[0].video
    assert isinstance(clip, Clip)
    assert clip.frames.shape == (FRAMES, SIDE, SIDE, 3)
    assert clip.frames.dtype == np.uint8
    assert np.array_equal(clip.frames, again[0].video.frames)
    assert [e.question for e in scenes_video(2, "train", limit=60)] != [e.question for e in made]


def test_an_impossible_count_is_refused():
    with pytest.raises(ValueError, match="2 or 3"):
        draw_moving(random.Random(0), 4)
