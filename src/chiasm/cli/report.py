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
    from chiasm.cli.verbs import print_summary
    from chiasm.studies.run import open_run

    opened = open_run(run)
    opened.report()
    print_summary(opened)
