"""What a finished run says on standard output."""

from chiasm.api import Run


def tell(run: Run) -> None:
    """Counts, findings in words, and where the report is."""
    counts = run.directory.counts()
    if not run.directory.complete:
        print("This run is not finished; what follows rests on what there is. The same command with --resume goes on.")
    # Only studies of right answers leave examples out.
    wrong = f"{counts['left_out']} answered wrongly, " if counts["left_out"] else ""
    print(f"{counts['kept']} of {counts['asked']} examples kept, {wrong}{counts['failed']} failed.")
    for failure in run.directory.failures()[:3]:
        print(f"  failed: {failure['example_id']}: {failure['reason']}")
    for number, finding in enumerate(run.findings, start=1):
        print(f"{number}. {finding}")
    print(f"Report: {run.path / 'report.html'}")
