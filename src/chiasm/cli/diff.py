"""`chiasm diff`."""

import re
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from chiasm.cli.summary import print_json, terminal
from chiasm.cli.verbs import announce


def diff(
    *runs: Path,
    out: Annotated[Path | None, Parameter(show_default=False)] = None,
    json: Annotated[bool, Parameter(negative="", show_default=False)] = False,
) -> None:
    """Set two or more runs of one study side by side: two models, windows, data sets or seeds.

    The others are set beside the first: one page with the same charts in the same colours, differences with intervals
    (paired where the runs have the same examples), and what was asked otherwise.

        chiasm diff runs/flow-tiny-scenes runs/wider-windows

    Parameters
    ----------
    runs
        Run directories, the one to compare with first.
    out
        Folder for report.html and differences.parquet. Default: `runs/diff-RUN-RUN`.
    json
        Print one object for programs in place of words: `study`, `runs` (label and path), `options` that differ,
        `examples`, `headline`, `findings`, `differences` (rows of the table), `notes`, `report`.
    """
    announce(f"chiasm diff of {', '.join(map(str, runs)) or 'no run'}.")
    from chiasm.studies.diff import diff as compare

    made = compare(*runs)
    page = made.report(_folder(runs) if out is None else out)
    if json:
        print_json(_object(made, page))
        return
    from chiasm.cli.tables import difference_table

    console = terminal()
    for line in made.findings:
        console.print(f"- {line}")
    for part in difference_table(made.differences, made.labels):
        console.print(part)
    for note in made.notes:
        console.print(note)
    console.print(f"\n{made.headline}\nReport: {page}")


def _folder(runs: tuple[Path, ...]) -> Path:
    """`runs/diff-RUN-RUN`."""
    names = [re.sub(r"[^\w.@]+", "-", run.resolve().name) for run in runs]
    return Path("runs") / "-".join(["diff", *names])


def _object(made: Any, page: Path) -> dict[str, Any]:
    return {
        "study": made.verb,
        "runs": [{"label": label, "path": str(run.path)} for label, run in zip(made.labels, made.runs, strict=True)],
        "options": made.options.to_dicts(),
        "examples": made.examples.to_dicts(),
        "headline": made.headline,
        "findings": made.findings,
        "differences": made.differences.to_dicts(),
        "notes": made.notes,
        "report": str(page),
    }
