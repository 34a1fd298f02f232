"""Sequences that hold no example: equal to what was read, from any place, by several threads, and small."""

import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Box, Example, media_key
from chiasm.data import sequences
from chiasm.data.sequences import Selected, Spooled, all_without_media, without_media
from chiasm.data.sources import examples, sequence


def made(count, pixels=8):
    for k in range(count):
        image = np.full((pixels, pixels, 3), k % 251, np.uint8)
        yield Example(id=f"e{k}", question="?", images=(image,), boxes=(Box("x", 1, 2, 3, 4),), captions=("a", "b"))


def keys(found):
    return [(one.id, one.boxes, one.captions, one.within, tuple(map(media_key, one.media))) for one in found]


@pytest.mark.parametrize("in_memory", [10, 8 << 20])
def test_what_was_read_is_read_back_from_any_place(monkeypatch, in_memory):
    monkeypatch.setattr(sequences, "_IN_MEMORY", in_memory)
    spooled, held = Spooled(made(30)), list(made(30))
    assert len(spooled) == 30
    assert keys(spooled) == keys(held)
    assert keys([spooled[-1], spooled[7]]) == keys([held[-1], held[7]])
    assert keys(spooled[5:20:3]) == keys(held[5:20:3])
    assert keys(spooled[5:20][2:4]) == keys(held[5:20][2:4])
    with pytest.raises(IndexError):
        spooled[30]


def test_threads_do_not_disturb_each_other(monkeypatch):
    monkeypatch.setattr(sequences, "_IN_MEMORY", 10)
    spooled, at_once = Spooled(made(200)), threading.Barrier(8)

    def read(first):
        at_once.wait()
        return [spooled[(first * 31 + k) % 200].id for k in range(400)]

    with ThreadPoolExecutor(8) as pool:
        for first, ids in enumerate(pool.map(read, range(8))):
            assert ids == [f"e{(first * 31 + k) % 200}" for k in range(400)]


def test_the_examples_are_not_in_memory(monkeypatch):
    monkeypatch.setattr(sequences, "_IN_MEMORY", 1 << 16)
    tracemalloc.start()
    try:
        spooled = Spooled(made(500, pixels=64))
        sum(len(one.id) for one in spooled)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 500 * 64 * 64 * 3 > 6_000_000 > 1_000_000 > peak


def test_what_cannot_be_written_is_held():
    lock = threading.Lock()
    spooled = Spooled([Example(id="a", question="?", images=(lock,)), Example(id="b", question="?")])
    assert spooled[0].image is lock
    assert spooled[1].id == "b"


def test_a_full_disk_is_said_in_words(monkeypatch):
    class Full:
        def write(self, content):
            raise OSError(28, "No space left on device")

        def close(self):
            pass

    monkeypatch.setattr(sequences.tempfile, "SpooledTemporaryFile", lambda size: Full())
    with pytest.raises(ChiasmError, match=r"No space left on device.*TMPDIR"):
        Spooled(made(1))


def test_told_leaves_out_media_and_nothing_else():
    for of in (Spooled(made(3)), list(made(3)), Selected(list(made(3)), [0, 1, 2])):
        assert [one.captions for one in all_without_media(of)] == [("a", "b")] * 3
        plain = Example(id="e1", question="?", boxes=(Box("x", 1, 2, 3, 4),), captions=("a", "b"))
        assert without_media(of, 1) == plain


@pytest.mark.parametrize("name", ["scenes", "scenes-video", "scenes-audio"])
def test_drawn_examples_are_those_of_the_stream(name):
    drawn, streamed = sequence(name, limit=12, seed=3, split="train"), list(examples(name, 12, 3, "train"))
    assert keys(drawn) == keys(streamed)
    assert [(one.question, one.answer, one.captions) for one in all_without_media(drawn)] == [
        (one.question, one.answer, one.captions) for one in streamed
    ]
    assert not any(one.media for one in all_without_media(drawn))
    with pytest.raises(ChiasmError, match="no end"):
        sequence(name)


def test_given_examples_stay_the_same_objects():
    given = list(made(4))
    assert all(one is other for one, other in zip(sequence(given, limit=3), given, strict=False))
    assert len(sequence(iter(given))) == 4
    lazy = Selected(given, range(4))
    assert [one.id for one in sequence(lazy, limit=2)] == ["e0", "e1"]
    with pytest.raises(ChiasmError, match="already used"):
        sequence(Selected(given, [0, 0]))


def test_mistakes_in_a_file_are_found_at_once(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text('{"id": "a", "question": "?"}\n{"id": "a", "question": "?"}\n')
    found = sequence(path)
    assert [one.id for one in found] == ["a", "line 2"]
    path.write_text("no")
    with pytest.raises(ChiasmError, match="not JSON"):
        sequence(path)
    assert found[0].id == "a"
