"""What a verb prints about a run: words for people, or one JSON object for programs."""

import io
import math
import sys
from json import dumps
from typing import IO, TYPE_CHECKING, Annotated, Any, cast

from cyclopts import Parameter

from chiasm.core.text import printable
from chiasm.studies.study import study

if TYPE_CHECKING:
    from rich.console import Console

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

    from chiasm.cli.tables import result_tables

    console = terminal()
    parts = run.reporter.summary()
    # A study that prints a table of its own needs no other.
    if not any(isinstance(part, Table) for part in parts):
        parts += result_tables(run.reporter.numbers)
    for part in parts:
        console.print(part)
    console.print(f"\n{run.reporter.headline()}\nReport: {run.path / 'report.html'}")


class _Printable(io.TextIOBase):
    """Standard output, on which control characters are written out: names of types and ids come from data."""

    def write(self, text: str) -> int:
        return sys.stdout.write(printable(text))

    def flush(self) -> None:
        sys.stdout.flush()

    def isatty(self) -> bool:
        return sys.stdout.isatty()


def terminal() -> "Console":
    """Where results are printed as words and tables; it has no colours, so whatever looks like one came from data."""
    from rich.console import Console

    return Console(
        file=cast("IO[str]", _Printable()),
        color_system=None,
        soft_wrap=True,
        highlight=False,
        markup=False,
        emoji=False,
    )


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


def print_json(value: Any) -> None:
    """One value on standard output. JSON has no NaN and no infinity: both are null."""
    text = dumps(_plain(value), indent=1, ensure_ascii=False, allow_nan=False)
    # JSON writes out the control characters of ASCII; terminals obey others too.
    print("".join(one if printable(one) == one else f"\\u{ord(one):04x}" for one in text))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
