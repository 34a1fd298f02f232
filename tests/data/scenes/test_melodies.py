"""The laws of melodies: what is synthesised is what the words say, and questions tell nothing alone."""

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chiasm.core.media import Sound
from chiasm.data.scenes import AUDIO_TYPES, draw_melody, scenes_audio
from chiasm.data.scenes.melodies import RATE, STYLES, ask_melody, describe_melody, synthesize


@st.composite
def any_melody(draw):
    return draw_melody(random.Random(draw(st.integers(0, 2**32))), draw(st.sampled_from((None, 1, 2, 3, 4))))


@given(any_melody())
@settings(max_examples=40, deadline=None)
def test_the_samples_hold_the_tones_that_the_words_name(melody):
    samples = synthesize(melody)
    assert samples.shape == (RATE,)
    assert np.abs(samples).max() <= 1
    at = round(RATE * melody.start)
    for tone in melody.tones:
        heard = samples[at : at + round(RATE * tone.seconds)]
        power = np.abs(np.fft.rfft(heard * np.hanning(len(heard)), 8 * RATE)) ** 2
        peak = power.argmax() / 8
        assert abs(peak - tone.hertz) < 8
        overtone = power[round(2 * tone.hertz * 8) - 40 : round(2 * tone.hertz * 8) + 40].max() / power.max()
        assert (overtone > 0.1) == (tone.timbre == "rough")
        assert tone.seconds > 0.14 if tone.length == "long" else tone.seconds < 0.14
        at += len(heard) + round(RATE * 0.03)
    assert not samples[at:].any(), "after the tones there is silence"


@given(any_melody(), st.sampled_from(AUDIO_TYPES), st.booleans(), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_answers_follow_from_the_tones(melody, kind, wanted, rng):
    question = ask_melody(melody, kind, wanted, rng)
    if question is None:
        return
    tones = melody.tones
    truth = {
        "FirstPitch": tones[0].pitch,
        "LastPitch": tones[-1].pitch,
        "ToneOrder": next((t.pitch for t in tones if t.pitch in ("high", "low")), None),
        "ToneLength": "longer" if tones[0].seconds > tones[-1].seconds else "shorter",
        "ToneThere": "yes" if any(f"a {t.pitch} {t.timbre} tone" in question.text for t in tones) else "no",
    }
    assert question.answer == truth[kind]
    assert (question.answer in ("high", "longer", "yes")) == wanted
    assert question.answer in question.options


def test_captions_tell_every_tone_in_order():
    rng = random.Random(5)
    for _ in range(30):
        melody = draw_melody(rng)
        for style in range(len(STYLES)):
            told = describe_melody(melody, rng, style)
            words = [word.strip(",.") for word in told.split()]
            assert [w for w in words if w in ("low", "middle", "high")] == [tone.pitch for tone in melody.tones]
            assert [w for w in words if w in ("short", "long")] == [tone.length for tone in melody.tones]


def test_the_stream_is_balanced_split_and_repeatable():
    made, again = list(scenes_audio(2, limit=60)), list(scenes_audio(2, limit=60))
    assert [(e.id, e.question, e.answer, e.captions) for e in made] == [
        (e.id, e.question, e.answer, e.captions) for e in again
    ]
    for kind in AUDIO_TYPES:
        assert set(Counter(e.answer for e in made if e.type == kind).values()) == {6}
    sound = made[0].audio
    assert isinstance(sound, Sound)
    assert sound.rate == RATE
    assert sound.samples.dtype == np.float32
    assert np.array_equal(sound.samples, again[0].audio.samples)


def test_an_impossible_count_is_refused():
    with pytest.raises(ValueError, match="1 to 4"):
        draw_melody(random.Random(0), 5)
