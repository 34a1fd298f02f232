"""A run on disk as an object: tables, figures, findings and report."""

from pathlib import Path
from typing import final

import polars as pl
from matplotlib.figure import Figure

from chiasm.core.errors import ChiasmError
from chiasm.results.figures import save
from chiasm.results.report import write_report
from chiasm.results.rundir import RunDirectory
from chiasm.studies.align.report import AlignReporter
from chiasm.studies.compare.report import CompareReporter
from chiasm.studies.eval.report import EvalReporter
from chiasm.studies.flow.report import FlowReporter
from chiasm.studies.look.report import LookReporter
from chiasm.studies.paper.report import PaperReporter
from chiasm.studies.project.report import ProjectReporter
from chiasm.studies.prune.report import PruneReporter
from chiasm.studies.reporting import Reporter
from chiasm.studies.skip.report import SkipReporter

_REPORTERS: dict[str, type[Reporter]] = {
    "FlowSpec": FlowReporter,
    "EvalSpec": EvalReporter,
    "AlignSpec": AlignReporter,
    "CompareSpec": CompareReporter,
    "PaperSpec": PaperReporter,
    "ProjectSpec": ProjectReporter,
    "PruneSpec": PruneReporter,
    "SkipSpec": SkipReporter,
    "LookSpec": LookReporter,
}
_MAIN = 3


@final
class Run:
    """A run on disk, finished or not. One with `out=None` is removed together with this object."""

    def __init__(self, directory: RunDirectory) -> None:
        self.directory = directory
        study = directory.manifest["study"]
        if study not in _REPORTERS:
            known = ", ".join(_REPORTERS)
            raise ChiasmError(f"open the run in `{directory.path}`", f"it is of {study}", f"Known are {known}")
        self._reporter = _REPORTERS[study](directory)

    @property
    def path(self) -> Path:
        """The run directory."""
        return self.directory.path

    @property
    def tables(self) -> list[str]:
        """The names of its tables."""
        return self.directory.tables()

    def table(self, name: str) -> pl.DataFrame:
        """A table as a Polars frame.

        **Errors:** `ChiasmError` naming the tables there are.
        """
        return self.directory.table(name)

    @property
    def figures(self) -> list[str]:
        """The names of the figures that can be drawn from its tables."""
        return list(self._reporter.drawings())

    def figure(self, name: str) -> Figure:
        """A figure, drawn from the tables; a notebook shows it.

        **Errors:** `ChiasmError` naming the figures there are.
        """
        there = self._reporter.drawings()
        if name not in there:
            raise ChiasmError(f"the figure `{name}`", f"this run has {', '.join(there)}", "Name one of those")
        return there[name].draw()

    @property
    def findings(self) -> list[str]:
        """The three main findings in words, with numbers and intervals."""
        return [finding.text for finding in self._reporter.findings()[:_MAIN]]

    def report(self) -> Path:
        """Draw all figures into `figures/` and write `report.html`, which needs no other file. Returns its path."""
        told = self._reporter
        drawings = told.drawings()
        for name, drawing in drawings.items():
            save(drawing.draw(), self.directory.figures, name)
        shown = [(name, drawing.caption()) for name, drawing in drawings.items()]
        return write_report(self.directory, told.title, told.findings(), shown, told.notes(), told.command())

    def __repr__(self) -> str:
        kept = self.directory.counts()["kept"]
        return f"Run({str(self.path)!r}, {self.directory.manifest['status']}, {kept} examples)"
