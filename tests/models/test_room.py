"""Examples at once by the bytes of a model: a power of two, no more than asked for, and never none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import chiasm
from chiasm.models import room


@pytest.fixture(scope="module")
def view():
    return chiasm.load("tiny")


@given(free=st.integers(0, 10**12), most=st.integers(1, 64))
def test_what_is_chosen_fits(view, free, most):
    each = room.bytes_of_example(view, 100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "free_bytes", lambda device: free)
        count = room.examples_at_once(view, 100, most)
    assert 1 <= count <= most
    assert count == 1 or count * each <= free / 4
    assert count == most or count & (count - 1) == 0
    assert count == most or 2 * (count + 1) * each > free / 4 or count * 2 > most


def test_longer_prompts_take_more(view):
    assert room.bytes_of_example(view, 200) > 1.9 * room.bytes_of_example(view, 100) - 10**6


def test_the_estimate_is_above_what_the_tensors_of_a_pass_take(view):
    example = next(iter(chiasm.examples("scenes", limit=1)))
    encoded = view.encode(example)
    found = view.model(**encoded.inputs, output_hidden_states=True, use_cache=True)
    held = sum(state.nbytes for state in found.hidden_states)
    assert room.bytes_of_example(view, encoded.length) > held


def test_this_machine_says_what_is_free(view):
    free = room.free_bytes(view.device)
    assert free is None or free > 1e6


def test_a_run_keeps_the_number_that_it_was_begun_with(tmp_path, monkeypatch):
    out = tmp_path / "run"
    monkeypatch.setattr(room, "free_bytes", lambda device: 4 * 3 * room.bytes_of_example(chiasm.load("tiny"), 90))
    first = chiasm.eval("tiny", limit=6, out=out)
    chosen = first.directory.manifest["spec"]["batch_size"]
    assert chosen in (1, 2, 4)
    monkeypatch.undo()
    again = chiasm.eval("tiny", limit=6, out=out, resume=True)
    assert again.directory.manifest["spec"]["batch_size"] == chosen
