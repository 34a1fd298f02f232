"""What a verb prints about a run: words for people, or one JSON object for programs."""

from typing import Annotated, Any

from cyclopts import Parameter

from chiasm.cli.output import print_json
from chiasm.studies.study import study

AS_JSON = (
    "Print one object for programs in place of words: `study`, `path`, `status`, `counts`, `headline`, `findings`, "
    "`claims` (rows of the table), `report`. Numbers that are none are null."
)
"""What `--json` does for a verb that ends with a run."""
JsonFlag = Annotated[bool, Parameter(help=AS_JSON, negative="", show_default=False)]


def print_run(run: Any, json: bool = False) -> None:
    """What a run found, in words and in tables, and where the report is; or all of it as one JSON object."""
    if json:
        print_json(run_object(run))
        return
    # Tables take polars, which help and mistakes do without.
    from rich.table import Table

    from chiasm.cli.console import words
    from chiasm.cli.tables import result_tables
    from chiasm.results.reasons import parts_missing

    console = words()
    parts = run.reporter.summary()
    # A study that prints a table of its own needs no other.
    if not any(isinstance(part, Table) for part in parts):
        parts += result_tables(run.reporter.numbers)
    for part in parts:
        console.print(part)
    if missing := parts_missing(run.directory.skipped()):
        console.print(f"\n{missing}")
    console.print(f"\n{run.reporter.headline()}\nReport: {run.path / 'report.html'}")


def run_object(run: Any) -> dict[str, Any]:
    """What a program needs to know of a run."""
    manifest = run.directory.manifest
    findings = [one.text for one in run.reporter.ranked]
    return {
        "study": manifest["study"],
        "path": str(run.path),
        "status": manifest["status"],
        "counts": run.directory.counts(),
        "headline": run.reporter.headline(),
        "findings": findings,
        "claims": run.claims.to_dicts() if study(manifest["study"]).claims else [],
        "report": str(run.path / "report.html"),
    }
