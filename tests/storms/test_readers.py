"""Damaged data and media put to everything that reads them: only our own errors come out, in bounded time."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support import fuzz

ENDS = ("read", "refused")
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("kind", fuzz.KINDS)
def test_a_few_of_every_kind(kind, tmp_path):
    ends = set()
    for number in range(12):
        (folder := tmp_path / str(number)).mkdir()
        ended, seconds, said = fuzz.put(kind, number, folder)
        assert ended in ("read", "refused"), f"{kind} {number} after {seconds:.1f} s: {said}"
        ends.add(ended)
    assert ends


def test_what_is_wrong_is_told_from_what_is_refused(monkeypatch, tmp_path):
    monkeypatch.setitem(fuzz.KINDS, "bug", lambda rng, folder: 1 / 0)
    assert fuzz.put("bug", 0, tmp_path)[0] == "wrong"
    monkeypatch.setattr(fuzz, "SECONDS", 0.05)
    monkeypatch.setitem(fuzz.KINDS, "endless", lambda rng, folder: [None for _ in iter(int, 1)])
    assert fuzz.put("endless", 0, tmp_path)[0] == "slow"


def test_the_counts_that_the_docs_cite_are_kept():
    kept = json.loads(fuzz.COUNTS.read_text())
    assert (kept["wrong"], kept["slow"]) == (0, 0)
    assert list(kept["kinds"]) == list(fuzz.KINDS)
    assert kept["inputs"] == sum(sum(ends.values()) for ends in kept["kinds"].values())
    said = (ROOT / "SECURITY.md").read_text()
    for number in (kept["inputs"], *(sum(ends[end] for ends in kept["kinds"].values() if end in ends) for end in ENDS)):
        assert f"{number:,}" in said


@pytest.mark.heavy
def test_twenty_thousand(tmp_path):
    """Other inputs than those whose counts are kept, in a process of its own whose address space is bounded."""
    words = ["-m", "tests.support.fuzz", "--count", "20000", "--first", "1000000", "--out", str(tmp_path / "counts")]
    here = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT)))}
    done = subprocess.run([sys.executable, *words], cwd=ROOT, env=here, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads((tmp_path / "counts").read_text())["inputs"] >= 20_000
