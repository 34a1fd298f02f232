"""Processes of runs are killed at random moments: no row is lost, doubled or different, and nothing hangs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.heavy, pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")]


def run(*words: str) -> str:
    """What a script says; it is a process of its own, since those that it forks need an unused thread pool."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-m", *words]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("verbs", [("count", "sums"), ("eval", "flow", "look"), ("align", "skip", "prune")])
def test_tables_are_those_of_an_undisturbed_run(tmp_path, verbs):
    counts = tmp_path / "counts.json"
    run("tests.storms.storm", "--minutes", "1", "--seed", "1000", "--write", str(counts), "--verbs", *verbs)
    told = json.loads(counts.read_text())["all"]
    assert told["kills"] > 0
    assert told["wrong"] == told["hangs"] == 0


def test_any_order_of_starts_kills_damage_and_checks():
    assert "'runs':" in run("tests.storms.states", "15")
