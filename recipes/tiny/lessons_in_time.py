"""What the model is taught about moving scenes and melodies: their question types, and look-ups that prepare them."""

import random
from typing import Final

from chiasm.data.scenes.clips import MovingScene
from chiasm.data.scenes.hearing import AUDIO_TYPES, ask_melody, end_pitch, tone_length, tone_order, tone_there
from chiasm.data.scenes.motion import (
    VIDEO_TYPES,
    ask_moving,
    direction,
    does_move,
    moving_color,
    still_size,
    which_moves,
)
from chiasm.data.scenes.questions import Question
from chiasm.data.scenes.tones import PITCHES, TIMBRES, Melody
from chiasm.data.scenes.world import COLORS, COLUMNS, ROWS

Lesson = tuple[str, str]
MOVING_LOOKUPS: Final = ("way", "moving color", "moving size", "moves")
MELODY_LOOKUPS: Final = ("pitch", "length", "timbre")
MOVING_KINDS: Final[dict[str, float]] = {**dict.fromkeys(VIDEO_TYPES, 0.16), **dict.fromkeys(MOVING_LOOKUPS, 0.05)}
MELODY_KINDS: Final[dict[str, float]] = {**dict.fromkeys(AUDIO_TYPES, 0.16), **dict.fromkeys(MELODY_LOOKUPS, 0.07)}


def tell_frames(scene: MovingScene) -> str:
    """Tells every frame by itself, as a video mapping shows them: where things are, not where they go.

    "red circle top left, blue star bottom center." for each frame, in the order of reading; that the circle moves
    right is left to be found by comparing the frames.
    """
    told = []
    for frame in scene.frames():
        ordered = sorted(frame.things, key=lambda thing: (ROWS.index(thing.row), COLUMNS.index(thing.column)))
        told.append(", ".join(f"{t.color} {t.shape} {t.row} {t.column}" for t in ordered) + ".")
    return " ".join(told)


MOVING_NOTED: Final[dict[str, float]] = {"Direction": 2.0, "WhichMoves": 2.0, "DoesMove": 2.0, "way": 2.0, "moves": 1.0}
MELODY_NOTED: Final[dict[str, float]] = {"FirstPitch": 1.0, "LastPitch": 1.0, "ToneOrder": 2.0, "pitch": 2.0}


def note_moving(scene: MovingScene, rng: random.Random) -> str:
    """Tells only who goes where: "circle moves left, star still,"."""
    actors = rng.sample(scene.actors, len(scene.actors))
    style = rng.choice(("{0} {1},", "the {0} {1}.", "{1}: {0}."))
    return " ".join(style.format(a.shape, f"moves {a.way}" if a.way else "still") for a in actors)


def note_melody(melody: Melody, rng: random.Random) -> str:
    """Tells only the pitches: "first: low. second: high. last: low."."""
    orders = (*("first", "second", "third")[: len(melody.tones) - 1], "last")
    style = rng.choice(("{0}: {1}.", "{1},", "the {0} tone is {1}."))
    return " ".join(style.format(order, tone.pitch) for order, tone in zip(orders, melody.tones, strict=True))


def moving_lesson(scene: MovingScene, kind: str, rng: random.Random) -> Lesson | None:
    """A question about a moving scene and its answer; None where the scene has none of this kind."""
    actor = rng.choice(scene.actors)
    match kind:
        case "way":
            return (f"Which way does the {actor.shape} move?", actor.way) if actor.way else None
        case "moving color":
            return f"What color is the {actor.shape}?", actor.thing.color
        case "moving size":
            return f"What size is the {actor.shape}?", actor.thing.size
        case "moves":
            alone = len(scene.moving) == 1
            return ("Which object moves?", scene.moving[0].shape) if alone else None
    question = ask_moving(scene, kind, rng.random() < 0.5, rng) if rng.random() < 0.5 else _any_moving(scene, kind, rng)
    return None if question is None else (question.text, question.answer)


def _any_moving(scene: MovingScene, kind: str, rng: random.Random) -> Question | None:
    """A question of a type without the balance that `scenes-video` keeps: any direction, any pair of options."""
    mover, still = rng.choice(scene.moving), rng.choice(scene.still)
    match kind:
        case "Direction":
            return direction(mover, rng)
        case "WhichMoves":
            return which_moves(mover, still, rng)
        case "MovingColor":
            other = rng.choice([color for color in COLORS if color != mover.thing.color])
            return moving_color(mover, other, rng) if len(scene.moving) == 1 else None
        case "StillSize":
            return still_size(still, rng) if len(scene.still) == 1 else None
    return does_move(rng.choice((mover, still)))


def melody_lesson(melody: Melody, kind: str, rng: random.Random) -> Lesson | None:
    """A question about a melody and its answer; None where the melody has none of this kind."""
    if kind in MELODY_LOOKUPS:
        orders = (*("first", "second", "third")[: len(melody.tones) - 1], "last")
        order = rng.choice(orders)
        tone = melody.tones[orders.index(order)]
        answer = dict(zip(("pitch", "length", "timbre"), tone.content, strict=True))[kind]
        if kind == "timbre":
            options = rng.sample(TIMBRES, 2)
            return f"Is the {order} tone {options[0]} or {options[1]}?", answer
        return f"What {kind} is the {order} tone?", answer
    question = (
        ask_melody(melody, kind, rng.random() < 0.5, rng) if rng.random() < 0.5 else _any_heard(melody, kind, rng)
    )
    return None if question is None else (question.text, question.answer)


def _any_heard(melody: Melody, kind: str, rng: random.Random) -> Question | None:
    """A question of a type without the balance that `scenes-audio` keeps: any pitches."""
    if kind == "ToneThere":
        return tone_there(melody, rng.choice(PITCHES), rng.choice(TIMBRES))
    if kind == "ToneLength":
        return tone_length(melody, rng)
    if kind == "ToneOrder":
        a, b = rng.sample(PITCHES, 2)
        return tone_order(melody, (a, b), rng)
    end = kind.removesuffix("Pitch").lower()
    own = melody.tones[0 if end == "first" else -1].pitch
    return end_pitch(melody, end, rng.choice([pitch for pitch in PITCHES if pitch != own]), rng)
