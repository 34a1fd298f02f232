"""What a study tells about one of its runs."""

import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from chiasm.results.findings import Finding
from chiasm.results.provenance import without_machine_paths
from chiasm.results.rundir import RunDirectory


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure that can be drawn, and its caption."""

    draw: Callable[[], Figure]
    caption: Callable[[], str]


class Reporter(ABC):
    """Findings, figures and notes of a run, from its tables and manifest alone."""

    def __init__(self, directory: RunDirectory) -> None:
        self.directory = directory
        self.spec: Mapping[str, Any] = directory.manifest["spec"]

    @property
    @abstractmethod
    def title(self) -> str:
        """The headline of the report."""

    @abstractmethod
    def findings(self) -> list[Finding]:
        """What was found, strongest first."""

    @abstractmethod
    def drawings(self) -> dict[str, Drawing]:
        """The figures by name, in the order of the report."""

    @abstractmethod
    def notes(self) -> list[str]:
        """What this run cannot tell."""

    @abstractmethod
    def command(self) -> str:
        """The command line that repeats the run."""


def command_line(verb: str, spec: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """`chiasm VERB MODEL ...` with every option that is not at its default. What was in memory is named in capitals."""
    words = ["chiasm", verb, "MODEL" if spec["model"] == "in memory" else spec["model"]]
    for name, value in spec.items():
        if name == "model" or value == defaults.get(name):
            continue
        option = "--" + {"unit": "batch-size", "cuts": "cut"}.get(name, name.replace("_", "-"))
        if isinstance(value, bool):
            words.append(option if value else option.replace("--", "--no-", 1))
        elif isinstance(value, list):
            words += [word for one in value for word in (option, str(one))]
        else:
            words += [option, "DATA" if value == "in memory" else str(value)]
    return without_machine_paths(shlex.join(words))
