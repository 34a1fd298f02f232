"""What is heard: a sequence of three or four tones, drawn from a seed and split by content."""

import hashlib
import random
from dataclasses import dataclass
from itertools import product
from typing import Final, Literal

import numpy as np

from chiasm.data.scenes.world import HELD_OUT

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
class Melody:
    """Tones in the order in which they are heard, no two alike in words. `start`: seconds of silence before them."""

    tones: tuple[Tone, ...]
    start: float = 0.02

    def digest(self) -> bytes:
        """A hash of what is heard in words; exact frequencies and durations do not matter."""
        content = ";".join("/".join(tone.content) for tone in self.tones)
        return hashlib.blake2b(content.encode(), digest_size=8).digest()

    def split(self) -> Literal["train", "heldout"]:
        """Which side it belongs to, decided by its content alone, as for scenes."""
        return "heldout" if int.from_bytes(self.digest(), "big") % HELD_OUT == 0 else "train"


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
        wave = (np.sin(2 * np.pi * tone.hertz * np.outer(orders, time)) / orders[:, None]).sum(axis=0)
        wave *= 0.2 / np.sqrt(0.5 * (1 / orders**2).sum())
        # Without a ramp, every tone would start with a click that holds all frequencies.
        ramp = np.minimum(1, np.minimum(time, time[::-1]) / _RAMP)
        samples[at : at + len(time)] += (wave * ramp).astype(np.float32)
        at += len(time) + round(RATE * _GAP)
    return samples
