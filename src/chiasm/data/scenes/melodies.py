"""Sounds: three or four tones in a row; their captions, and questions about pitch, order, length and timbre."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

import numpy as np

from chiasm.data.scenes.questions import SceneQuestion, pick, shuffled
from chiasm.data.scenes.world import Content

AUDIO_TYPES: Final = ("FirstPitch", "LastPitch", "ToneOrder", "ToneLength", "ToneThere")
_ENDS: Final = {"first": 0, "last": -1}
PITCHES: Final = ("low", "middle", "high")
LENGTHS: Final = ("short", "long")
TIMBRES: Final = ("pure", "rough")
RATE: Final = 16_000
SECONDS: Final = 1.0
# Hertz, within which a tone is drawn evenly; an octave and more lies between them.
_HERTZ: Final = {"low": (230, 270), "middle": (640, 760), "high": (1650, 1950)}
_LENGTHS: Final = {"short": (0.08, 0.10), "long": (0.17, 0.20)}
_GAP: Final = 0.03
_RAMP: Final = 0.005
_HARMONICS: Final = 8


@dataclass(frozen=True, slots=True)
class Tone:
    """One tone: its words, and its frequency in hertz and duration in seconds."""

    pitch: str
    length: str
    timbre: str
    hertz: float
    seconds: float

    @property
    def content(self) -> tuple[str, str, str]:
        return (self.pitch, self.length, self.timbre)


@dataclass(frozen=True, slots=True)
class Melody(Content):
    """Tones in the order in which they sound, no two alike in words. `start`: seconds of silence before them."""

    tones: tuple[Tone, ...]
    start: float = 0.02

    @property
    def words(self) -> str:
        return ";".join("/".join(tone.content) for tone in self.tones)


def draw_melody(rng: random.Random, count: int | None = None) -> Melody:
    """A sequence of `count` tones (3 or 4 if not given), all different in words."""
    count = rng.choice((3, 4)) if count is None else count
    if not 1 <= count <= 4:
        raise ValueError(f"a melody holds 1 to 4 tones, {count} were asked for")
    drawn = rng.sample(list(product(PITCHES, LENGTHS, TIMBRES)), count)
    tones = tuple(Tone(p, n, t, rng.uniform(*_HERTZ[p]), rng.uniform(*_LENGTHS[n])) for p, n, t in drawn)
    return Melody(tones, start=rng.uniform(0.0, 0.08))


def synthesize(melody: Melody) -> np.ndarray:
    """The samples (N,) in float32 within -1..1, `SECONDS` long at `RATE`: tones, gaps of 30 ms, then silence.

    A pure tone is a sine; a rough one has the harmonics of a sawtooth. Both have the same root mean square.
    """
    samples = np.zeros(round(RATE * SECONDS), dtype=np.float32)
    at = round(RATE * melody.start)
    for tone in melody.tones:
        time = np.arange(round(RATE * tone.seconds)) / RATE
        orders = np.arange(1, _HARMONICS + 1 if tone.timbre == "rough" else 2)
        orders = orders[orders * tone.hertz < RATE / 2]
        sound = (np.sin(2 * np.pi * tone.hertz * np.outer(orders, time)) / orders[:, None]).sum(axis=0)
        sound *= 0.2 / np.sqrt(0.5 * (1 / orders**2).sum())
        # Without a ramp, every tone would start with a click that holds all frequencies.
        ramp = np.minimum(1, np.minimum(time, time[::-1]) / _RAMP)
        samples[at : at + len(time)] += (sound * ramp).astype(np.float32)
        at += len(time) + round(RATE * _GAP)
    return samples


def _plain(tones: Sequence[Tone]) -> str:
    return ", then ".join(f"a {t.length} {t.pitch} {t.timbre} tone" for t in tones) + "."


def _brief(tones: Sequence[Tone]) -> str:
    return ", ".join(f"{t.length} {t.pitch} {t.timbre}" for t in tones) + "."


def _numbered(tones: Sequence[Tone]) -> str:
    orders = (*("first", "second", "third")[: len(tones) - 1], "last")
    return " ".join(f"{order}: {t.length} {t.pitch} {t.timbre}." for order, t in zip(orders, tones, strict=True))


def _facts(tones: Sequence[Tone]) -> str:
    orders = (*("first", "second", "third")[: len(tones) - 1], "last")
    numbered = zip(orders, tones, strict=True)
    return " ".join(f"the {order} tone is {t.pitch}, {t.length} and {t.timbre}." for order, t in numbered)


STYLES: Final[tuple[Callable[[Sequence[Tone]], str], ...]] = (_plain, _brief, _numbered, _facts)


def describe_melody(melody: Melody, rng: random.Random, style: int | None = None) -> str:
    """A complete caption: the tones in order, in one style (random if not given)."""
    return STYLES[rng.randrange(len(STYLES)) if style is None else style](melody.tones)


def end_pitch(melody: Melody, end: str, other: str, rng: random.Random) -> SceneQuestion:
    """Asks "Is the first tone high or low?", or of the "last"; `other` is the wrong pitch."""
    pitch = melody.tones[_ENDS[end]].pitch
    options = shuffled((pitch, other), rng)
    text = f"Is the {end} tone {options[0]} or {options[1]}?"
    return SceneQuestion(f"{end.capitalize()}Pitch", text, pitch, options, ())


def tone_order(melody: Melody, pitches: tuple[str, str], rng: random.Random) -> SceneQuestion | None:
    """Asks "Which tone comes first, the high or the low one?"; None unless the melody has exactly one of each."""
    pitches_in_order = [tone.pitch for tone in melody.tones if tone.pitch in pitches]
    if sorted(pitches_in_order) != sorted(pitches):
        return None
    options = shuffled(pitches, rng)
    text = f"Which tone comes first, the {options[0]} or the {options[1]} one?"
    return SceneQuestion("ToneOrder", text, pitches_in_order[0], options, ())


def tone_length(melody: Melody, rng: random.Random) -> SceneQuestion | None:
    """Asks "Is the first tone longer or shorter than the last?"; None where they are alike."""
    first, last = melody.tones[0].length, melody.tones[-1].length
    if first == last:
        return None
    options = shuffled(("longer", "shorter"), rng)
    text = f"Is the first tone {options[0]} or {options[1]} than the last?"
    return SceneQuestion("ToneLength", text, "longer" if first == "long" else "shorter", options, ())


def tone_there(melody: Melody, pitch: str, timbre: str) -> SceneQuestion:
    """Asks "Is there a high rough tone?"."""
    answer = "yes" if any((t.pitch, t.timbre) == (pitch, timbre) for t in melody.tones) else "no"
    return SceneQuestion("ToneThere", f"Is there a {pitch} {timbre} tone?", answer, ("yes", "no"), ())


def ask_melody(melody: Melody, kind: str, side: bool, rng: random.Random) -> SceneQuestion | None:
    """A question of this type with this side of the balance, or None if the melody has none.

    `side` picks the answer: "high", "longer", "yes" where true; "low", "shorter", "no" where false.
    """
    if kind == "ToneThere":
        kinds = {(tone.pitch, tone.timbre) for tone in melody.tones}
        chosen = pick([pair for pair in product(PITCHES, TIMBRES) if (pair in kinds) == side], rng)
        return None if chosen is None else tone_there(melody, *chosen)
    if kind == "ToneLength":
        found = tone_length(melody, rng)
        answer = ("shorter", "longer")[side]
    else:
        answer, other = ("high", "low") if side else ("low", "high")
        if kind == "ToneOrder":
            found = tone_order(melody, ("high", "low"), rng)
        else:
            found = end_pitch(melody, kind.removesuffix("Pitch").lower(), other, rng)
    return found if found is not None and found.answer == answer else None
