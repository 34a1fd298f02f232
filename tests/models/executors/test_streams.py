"""Decoders that carry several streams of states at once (Gemma 3n): cut by masked forwards, and nothing else."""

from unittest.mock import patch

import pytest
import torch
from tests.support.runs import view_of

from chiasm.core.errors import ChiasmError
from chiasm.models.conformance.trial import forward_cuts, job_of, noise, noise_example, variants_of
from chiasm.models.executors import lockstep, reference
from chiasm.models.executors.jobs import Job, Readout, StateReadout
from chiasm.models.executors.lockstep import LockstepExecutor
from chiasm.models.executors.reference import ReferenceExecutor
from chiasm.models.frame import Frame, record_frame


def two_streams(view, inputs):
    """As the model's layers were given them, and once more beside."""
    frame = record_frame(view, inputs)
    return frame._replace(hidden=torch.stack([frame.hidden, frame.hidden]), leading=True)


@pytest.fixture
def view():
    return view_of("llava")


@pytest.fixture
def encoded(view):
    return view.encode(noise_example("image", (noise("image", 0),)))


def test_a_frame_counts_tokens_and_examples_whatever_its_streams():
    one = Frame(torch.zeros(3, 5, 4), ())
    before = Frame(torch.zeros(2, 3, 5, 4), (), leading=True)
    behind = Frame(torch.zeros(3, 5, 2, 4), ())
    assert (one.streams, one.batch, one.length) == (1, 3, 5)
    for two in (before, behind):
        assert (two.streams, two.batch, two.length) == (2, 3, 5)


def test_masked_forwards_cut_them(view, encoded):
    job = job_of(encoded, *variants_of(view, encoded, forward_cuts("image")))
    [expected] = ReferenceExecutor().run(view, [job])
    with patch.object(reference, "record_frame", two_streams):
        [found] = ReferenceExecutor().run(view, [job])
    assert torch.equal(found.full, expected.full)


def test_no_walk_is_made_through_them(view, encoded):
    job = job_of(encoded, *variants_of(view, encoded, forward_cuts("image")))
    with (
        patch.object(lockstep, "record_frame", two_streams),
        pytest.raises(ChiasmError, match=r"2 streams of states at once.*--executor reference"),
    ):
        LockstepExecutor().run(view, [job])


def test_a_token_has_no_one_state_to_read(view, encoded):
    last = (encoded.length - 1,)
    between = Job(encoded, (), Readout(full=True), (StateReadout("last", last),))
    within = Job(encoded, (), Readout(full=True), (StateReadout("last", last, "mlp"),))
    with patch.object(reference, "record_frame", two_streams):
        with pytest.raises(ChiasmError, match="no one state"):
            ReferenceExecutor().run(view, [between])
        [found] = ReferenceExecutor().run(view, [within])
    assert found.states["last"].shape == (view.n_layers, 1, view.width)
