"""`chiasm verify`."""

import os
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from chiasm.cli.summary import print_json


def verify(run: Path, /, *, json: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Is a run as it was written? Reads every file again and compares it with the digests that the run keeps.

    Ends with 2 where something is missing or altered, and names each. What is damaged of a run that is not finished is
    computed anew by --resume; figures and report are drawn anew by `chiasm report`. What a run says nothing of is
    named: finished batches of a run that goes on are listed nowhere, and neither are figures that were never drawn.

        chiasm verify runs/demo

    Parameters
    ----------
    run
        Run directory.
    json
        Print one object, for programs: `path`, `status`, `tables`, `rows`, `files`, `problems`, `unknown`.
    """
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    from chiasm.results.verify import verify as verified

    found = verified(run)
    if json:
        print_json(found._asdict() | {"path": str(run)})
    elif found.problems:
        print("\n".join(f"chiasm: {run}: {one}" for one in found.problems), file=sys.stderr)
    else:
        print(
            f"{run} is as it was written: {found.status}, {found.tables} tables with {found.rows:,} rows, "
            f"{found.files} other files. {found.unknown}".rstrip()
        )
    return 2 if found.problems else 0
