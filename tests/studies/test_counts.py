"""Counts of every study add up: asked = kept + left out for a named reason + failed, in the manifest and in words."""

import re
from pathlib import Path

import pytest

import chiasm
from chiasm.core.example import Example
from chiasm.studies.run import Run, open_run

OPTIONS = {
    "eval": {"metrics": ("exact",)},
    "look": {"maps": 0},
    "patch": {"controls": False, "knockouts": False, "spans": ("last",), "keep": "correct"},
    "flow": {"cuts": ("image->last",), "window": 3, "controls": False, "keep": "correct"},
    "align": {"controls": False, "inside": False, "vocabulary_tokens": 0},
    "skip": {"calibration": 6, "batch_size": 4, "repeats": 1, "peers": False, "controls": False},
    "prune": {"controls": False, "calibration": 6, "sparsities": (0.5,), "combine": False},
}


@pytest.fixture(scope="module")
def data():
    """Scenes, two questions on one image, one label that no answer equals, and one image that is not there."""
    scenes = list(chiasm.examples("scenes", limit=18))
    twice = [
        Example(id=f"again-{k}", question="What colour is it?", images=scenes[0].images, answer="red") for k in (0, 1)
    ]
    wrong = Example(id="wrong", question=scenes[1].question, images=scenes[1].images, answer="no such", type="Other")
    broken = Example(id="broken", question="What?", images=(Path("/nowhere.png"),), answer="red")
    return [*scenes, *twice, wrong, broken]


def check(run: Run, asked: int | None = None) -> dict[str, int]:
    counts = run.directory.counts()
    assert counts["asked"] == counts["kept"] + counts["left_out"] + counts["failed"]
    assert asked in (None, counts["asked"])
    assert len(run.directory.left_out()) == counts["left_out"]
    assert len(run.directory.failures()) == counts["failed"]
    assert all(one["reason"] for one in run.directory.left_out() + run.directory.failures())
    line = next(line for line in run.reporter.summary() if isinstance(line, str) and "examples kept" in line)
    kept, of, *others = (int(number) for number in re.findall(r"(?:^|, |of )(\d+)", line))
    assert of == kept + sum(others), line
    return counts


@pytest.mark.parametrize(
    "verb", [pytest.param(one, marks=pytest.mark.heavy) if one in ("look", "align") else one for one in OPTIONS]
)
def test_what_was_asked_for_is_accounted_for(verb, data):
    call = chiasm.evaluate if verb == "eval" else getattr(chiasm, verb)
    run = call("tiny", data=data, **OPTIONS[verb])
    # `prune` is asked about the half that does not calibrate.
    counts = check(run, None if verb == "prune" else len(data))
    assert counts["failed"] <= 1
    if verb == "skip":
        assert {one["reason"] for one in run.directory.left_out()} <= {
            "left over, as the examples that choose layers are taken in whole batches",
            "shares an image with a calibration example",
        }
        assert counts["left_out"]
    if verb == "flow":
        assert any("answered wrongly" in str(line) for line in run.reporter.summary())


@pytest.mark.heavy
def test_several_models_count_every_example_once(data, tmp_path):
    run = chiasm.compare(["tiny", "tiny-random"], data=data, tasks=(), out=tmp_path / "run")
    counts = check(open_run(run.path), 2 * len(data))
    assert counts["failed"] == 2
    assert [one["example_id"] for one in run.directory.failures()] == ["tiny/broken", "tiny-random/broken"]
