"""What memory and time of a run grow with: `python -m bench.stream` (about 5 minutes).

Runs of several sizes on `tiny`, each in a process of its own, from the command line to the finished page. Time is that
of the processor, which other programs on the machine disturb least; the cost per example is that of the examples that a
size has more than the one before it, so that loading the model is not in it.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from cyclopts import App
from rich.console import Console

from bench.report import Sheet

_MAIN = "from chiasm.cli.main import main; main()"

app = App(name="bench.stream", help=__doc__, help_format="plaintext")


class Run(NamedTuple):
    """Peak resident memory in bytes and processor seconds of a whole process."""

    peak: int
    cpu: float


@app.default
def stream(*, verb: str = "eval", sizes: tuple[int, ...] = (500, 1000, 2000, 4000), data: str = "scenes") -> None:
    """Run a study on so many examples, one size after the other.

    verb: a study that takes a model, data and a limit.
    """
    lines: list[tuple[str, ...]] = []
    before: tuple[int, Run] | None = None
    for size in sorted(sizes):
        found = _run(verb, data, size)
        more = ("", "")
        if before is not None:
            examples = size - before[0]
            grown = (found.peak - before[1].peak) / examples / 1e3
            more = (f"{1e3 * (found.cpu - before[1].cpu) / examples:.1f}", f"{grown:+.1f}")
        lines.append((f"{size:,}", f"{found.peak / 1e6:.0f}", f"{found.cpu:.0f}", *more))
        before = size, found
    load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
    columns = ("examples", "peak MB", "CPU s", "CPU ms per further example", "kB per further example")
    Sheet(f"chiasm {verb} tiny --data {data}, load {load}", columns, lines).show(Console(width=120))


def _run(verb: str, data: str, size: int) -> Run:
    with tempfile.TemporaryDirectory() as folder:
        asked = [verb, "tiny", "--data", data, "--limit", str(size), "--out", str(Path(folder) / "run")]
        child = subprocess.Popen(
            [sys.executable, "-c", _MAIN, *asked],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"chiasm {' '.join(asked)} ended with {child.returncode}")
    return Run(used.ru_maxrss * (1 if sys.platform == "darwin" else 1024), used.ru_utime + used.ru_stime)


if __name__ == "__main__":
    app()
