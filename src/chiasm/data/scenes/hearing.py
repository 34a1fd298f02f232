"""Melodies in words: captions that tell every tone, and questions about pitch, order, length and timbre."""

import random
from collections.abc import Callable, Sequence
from itertools import product
from typing import Final

from chiasm.data.scenes.questions import Question, pick, shuffled
from chiasm.data.scenes.tones import PITCHES, TIMBRES, Melody, Tone

AUDIO_TYPES: Final = ("FirstPitch", "LastPitch", "ToneOrder", "ToneLength", "ToneThere")
_ENDS: Final = {"first": 0, "last": -1}


def _plain(tones: Sequence[Tone]) -> str:
    return ", then ".join(f"a {t.length} {t.pitch} {t.timbre} tone" for t in tones) + "."


def _brief(tones: Sequence[Tone]) -> str:
    return ", ".join(f"{t.length} {t.pitch} {t.timbre}" for t in tones) + "."


def _numbered(tones: Sequence[Tone]) -> str:
    orders = (*("first", "second", "third")[: len(tones) - 1], "last")
    return " ".join(f"{order}: {t.length} {t.pitch} {t.timbre}." for order, t in zip(orders, tones, strict=True))


def _facts(tones: Sequence[Tone]) -> str:
    orders = (*("first", "second", "third")[: len(tones) - 1], "last")
    told = zip(orders, tones, strict=True)
    return " ".join(f"the {order} tone is {t.pitch}, {t.length} and {t.timbre}." for order, t in told)


STYLES: Final[tuple[Callable[[Sequence[Tone]], str], ...]] = (_plain, _brief, _numbered, _facts)


def tell_melody(melody: Melody, rng: random.Random, style: int | None = None) -> str:
    """A complete caption: the tones in the order heard, in one style (random if not given)."""
    return STYLES[rng.randrange(len(STYLES)) if style is None else style](melody.tones)


def end_pitch(melody: Melody, end: str, other: str, rng: random.Random) -> Question:
    """Asks "Is the first tone high or low?", or of the "last"; `other` is the wrong pitch."""
    pitch = melody.tones[_ENDS[end]].pitch
    options = shuffled((pitch, other), rng)
    text = f"Is the {end} tone {options[0]} or {options[1]}?"
    return Question(f"{end.capitalize()}Pitch", text, pitch, options, ())


def tone_order(melody: Melody, pitches: tuple[str, str], rng: random.Random) -> Question | None:
    """Asks "Which tone comes first, the high or the low one?"; None unless the melody has exactly one of each."""
    heard = [tone.pitch for tone in melody.tones if tone.pitch in pitches]
    if sorted(heard) != sorted(pitches):
        return None
    options = shuffled(pitches, rng)
    text = f"Which tone comes first, the {options[0]} or the {options[1]} one?"
    return Question("ToneOrder", text, heard[0], options, ())


def tone_length(melody: Melody, rng: random.Random) -> Question | None:
    """Asks "Is the first tone longer or shorter than the last?"; None where they are alike."""
    first, last = melody.tones[0].length, melody.tones[-1].length
    if first == last:
        return None
    options = shuffled(("longer", "shorter"), rng)
    text = f"Is the first tone {options[0]} or {options[1]} than the last?"
    return Question("ToneLength", text, "longer" if first == "long" else "shorter", options, ())


def tone_there(melody: Melody, pitch: str, timbre: str) -> Question:
    """Asks "Is there a high rough tone?"."""
    answer = "yes" if any((t.pitch, t.timbre) == (pitch, timbre) for t in melody.tones) else "no"
    return Question("ToneThere", f"Is there a {pitch} {timbre} tone?", answer, ("yes", "no"), ())


def ask_melody(melody: Melody, kind: str, wanted: bool, rng: random.Random) -> Question | None:
    """A question of this type with this side of the balance, or None if the melody has none.

    `wanted` picks the answer: "high", "longer", "yes" where true; "low", "shorter", "no" where false.
    """
    if kind == "ToneThere":
        kinds = {(tone.pitch, tone.timbre) for tone in melody.tones}
        chosen = pick([pair for pair in product(PITCHES, TIMBRES) if (pair in kinds) == wanted], rng)
        return None if chosen is None else tone_there(melody, *chosen)
    if kind == "ToneLength":
        found = tone_length(melody, rng)
        answer = ("shorter", "longer")[wanted]
    else:
        answer, other = ("high", "low") if wanted else ("low", "high")
        if kind == "ToneOrder":
            found = tone_order(melody, ("high", "low"), rng)
        else:
            found = end_pitch(melody, kind.removesuffix("Pitch").lower(), other, rng)
    return found if found is not None and found.answer == answer else None
