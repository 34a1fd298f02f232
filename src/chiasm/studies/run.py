"""A run on disk as an object: tables, charts, findings and report."""

import inspect
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import polars as pl

from chiasm.core.errors import ChiasmError, nearest
from chiasm.core.remote import is_address
from chiasm.results.page.write import write_report
from chiasm.results.report import Drawing, kind_of_chart
from chiasm.results.rundir import RunDirectory
from chiasm.results.upload import upload
from chiasm.results.verify import note_drawn
from chiasm.studies.study import GROUP, is_study, study, verbs

if TYPE_CHECKING:
    from chiasm.results.charts.lines import Chart

_MAIN = 3
_DRAWING = 2
"""Charts whose files are written at one time."""


@final
class Run:
    """A run on disk, finished or not. One with `out=None` is removed together with this object."""

    def __init__(self, directory: RunDirectory) -> None:
        self.directory = directory
        verb = directory.manifest["study"]
        if not is_study(verb):
            found = (
                f"it is of {verb}, a study that no installed package has (entry points `{GROUP}`: {', '.join(verbs())})"
            )
            raise ChiasmError(f"open the run in `{directory.path}`", found, f"Install the package that has {verb}")
        self.reporter = study(verb).reporter(directory)

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
    def claims(self) -> pl.DataFrame:
        """What the run says, one row for each estimate: effect, interval, p, control, n, verdict.

        Of a run that is not finished, or of a version that kept none, they are made from its tables now.
        """
        return self.reporter.claims

    @property
    def charts(self) -> list[str]:
        """The names of the charts that can be drawn from its tables."""
        return list(self.reporter.drawings())

    def chart(self, name: str, width: str | None = None, **chosen: Any) -> "Chart":
        """A chart, drawn from the tables: interactive in a notebook, to be saved as SVG, PDF or PNG.

        `width`: on paper, as `3.3in` or `17cm`; None is the screen's. `chosen`: what is drawn, as `cuts=[...]`.

        **Errors:** `ChiasmError` naming the charts there are, or for a width that is none.
        """
        from chiasm.results.charts.saving import saveable
        from chiasm.results.charts.theme import size_of
        from chiasm.results.notebook import offer_charts

        offer_charts()
        _require_choices(name, self.choices(name), chosen)
        return saveable(self._drawing(name).draw(size_of(width), **chosen))

    def choices(self, name: str) -> tuple[str, ...]:
        """What can be chosen in a chart, by the names that `chart` takes: `cuts`, `layers`, `states`.

        **Errors:** `ChiasmError` naming the charts there are.
        """
        draw = self._drawing(name).draw
        _, *taken = inspect.signature(draw).parameters.values()  # the first is the size
        given = draw.keywords if isinstance(draw, partial) else {}
        return tuple(one.name for one in taken if one.name not in given)

    def caption(self, name: str) -> str:
        """What a chart shows, over how many examples, beside which control.

        **Errors:** `ChiasmError` naming the charts there are.
        """
        return self._drawing(name).caption()

    def question(self, name: str) -> str:
        """What a chart answers: its title in the report.

        **Errors:** `ChiasmError` naming the charts there are.
        """
        questions = self.reporter.charts
        kind = kind_of_chart(name, questions)
        return questions[kind] if kind else self.caption(name).partition(". ")[0].rstrip(".")

    def _drawing(self, name: str) -> Drawing:
        there = self.reporter.drawings()
        if name not in there:
            todo = nearest(name, there) or "Name one of those"
            raise ChiasmError(f"the chart `{name}`", f"this run has {', '.join(there) or 'none'}", todo)
        return there[name]

    @property
    def findings(self) -> list[str]:
        """The three main findings in words, with numbers and intervals."""
        return [finding.text for finding in self.reporter.ranked[:_MAIN]]

    def report(self) -> Path:
        """Draw what the report shows into `figures/` and write `report.html`, one file. Returns its path."""
        # Drawing takes what reading tables does not need.
        from chiasm.results.charts.files import save_specified, specification, unchecked
        from chiasm.results.charts.theme import SCREEN

        drawings: dict[str, Drawing] = {
            name: drawing for name, drawing in self.reporter.drawings().items() if drawing.reported
        }
        # Files are written beside the next chart's numbers: drawing lets other threads go on.
        with ThreadPoolExecutor(max_workers=_DRAWING, thread_name_prefix="draw") as pool, unchecked():
            waiting = [
                pool.submit(save_specified, specification(drawing.draw(SCREEN)), self.directory.figures, name)
                for name, drawing in drawings.items()
            ]
        for one in waiting:
            one.result()
        shown = [(name, drawing.caption()) for name, drawing in drawings.items()]
        page = write_report(self.directory, self.reporter, shown)
        note_drawn(self.directory)
        return page

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """What a notebook shows: the main finding, its numbers, the main chart, and what else there is."""
        from chiasm.results.charts.files import specification
        from chiasm.results.notebook import page_of

        headline = self.reporter.headline()
        manifest, counts = self.directory.manifest, self.directory.counts()
        facts = (f"chiasm {manifest['study']}", manifest["status"], f"{counts['kept']} of {counts['asked']} examples")
        tables = self.reporter.numbers
        charts = self.charts
        # The main chart is the one whose question comes first.
        order = list(self.reporter.figure_questions())
        charts.sort(key=lambda name: next((k for k, one in enumerate(order) if name.startswith(one)), 99))
        hint = {"in words": "run.findings", "numbers": "run.claims", "rows": f'run.table("{(self.tables or [""])[0]}")'}
        hint |= {"drawn": f'run.chart("{charts[0]}")'} if charts else {}
        spec = specification(self.chart(charts[0])) if charts else None
        page = page_of(headline, facts, tables[0] if tables else None, spec, hint)
        return {"text/plain": f"{self!r}\n{headline}", "text/html": page}

    def __repr__(self) -> str:
        kept = self.directory.counts()["kept"]
        return f"Run({str(self.path)!r}, {self.directory.manifest['status']}, {kept} examples)"


def _require_choices(name: str, known: Sequence[str], chosen: Mapping[str, Any]) -> None:
    """**Errors:** `ChiasmError` for what this chart lets no one choose."""
    for wrong in chosen.keys() - set(known):
        found = f"what can be chosen is {', '.join(known)}" if known else "nothing in it can be chosen but its width"
        raise ChiasmError(f"the chart `{name}` with {wrong}=", found, nearest(wrong, known) or "Leave it out")


def open_run(path: str | Path) -> Run:
    """A run directory, finished or not.

    **Errors:** `ChiasmError` if there is none.
    """
    return Run(RunDirectory.load(path, lambda verb: study(verb).schemas if is_study(verb) else ()))


def run_study(verb: str, **options: Any) -> Run:
    """Run a study by its verb; one that is given a directory is drawn and reported at once."""
    found = study(verb)
    return finished(found.run(found.spec(**options)), options.get("out"))


def finished(directory: RunDirectory, out: str | Path | None) -> Run:
    """The run, reported where it has a directory of its own, and copied where that is an address.

    **Errors:** `ChiasmError` for an address that cannot be written; the run stays where it was computed.
    """
    run = Run(directory)
    if out is not None:
        run.report()
    if is_address(out):
        upload(directory.path, str(out))
    return run


def claims(study_verb: str, tables: Mapping[str, pl.DataFrame], *, seed: int = 0) -> pl.DataFrame:
    """What a study says of its tables: the frame `claims`, from Polars frames by name alone.

    Anyone can try the inference on data of their own: `chiasm.claims("flow", {"effects": frame, "controls": frame})`.

    **Errors:** `ChiasmError` for an unknown study, or a table that is needed and not there.
    """
    return study(study_verb).claims_of(tables, seed=seed)
