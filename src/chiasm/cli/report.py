"""`chiasm report`."""

from pathlib import Path


def report(run: Path, /) -> None:
    """Draw the figures of a run anew and write its report.html; works on an unfinished run as well.

        chiasm report runs/demo

    Parameters
    ----------
    run
        Run directory.
    """
    from chiasm import api
    from chiasm.cli.told import tell

    opened = api.open_run(run)
    opened.report()
    tell(opened)
