"""Commands in the README and in help texts can be typed as they stand."""

import re
import shlex
from pathlib import Path

import pytest

from chiasm.cli.application import application

ROOT = Path(__file__).parents[2]


def commands() -> list[str]:
    sources = ROOT / "src" / "chiasm"
    texts = [ROOT / "README.md", *sorted((sources / "cli").glob("*.py")), *sorted(sources.glob("studies/*/spec.py"))]
    found = [line.strip() for text in texts for line in text.read_text().splitlines()]
    return [line for line in found if re.match(r"chiasm [a-z]+( |$)", line)]


def test_there_are_examples_of_every_verb():
    verbs = {shlex.split(command)[1] for command in commands()}
    assert verbs >= {"demo", "flow", "eval", "report", "chart", "models", "check", "doctor"}


@pytest.mark.parametrize("command", commands())
def test_it_parses(command):
    function, _, _ = application().parse_args(shlex.split(command)[1:], exit_on_error=False, print_error=False)
    assert function.__module__.startswith("chiasm.cli.")
