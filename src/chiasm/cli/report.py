"""`chiasm report`."""

import gc
import os
from pathlib import Path

from chiasm.cli.summary import JsonFlag, print_run
from chiasm.cli.verbs import announce


def report(run: Path, /, *, json: JsonFlag = False) -> None:
    """Draw the figures of a run anew and write its report.html; works on an unfinished run as well.

        chiasm report runs/demo

    Parameters
    ----------
    run
        Run directory.
    """
    # Before numpy and polars are imported: on tables of this size a second thread costs more than it gains.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    # Nothing that is drawn becomes garbage before the end: looking for some takes an eighth of the time.
    gc.disable()
    try:
        from chiasm.studies.run import open_run

        opened = open_run(run)
        announce(f"chiasm report of {run}: drawing it anew.")
        opened.report()
        print_run(opened, json)
    finally:
        gc.enable()
