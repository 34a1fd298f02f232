"""How memory and time of one long run go on while it runs, from the command line to the finished page.

    python -m bench.curve flow-10000 flow tiny --limit 10000

writes bench/results/curves/flow-10000.json: about every ten seconds the clock, the processor time of the process,
resident memory, and how many examples have been recorded by then. Needs /proc (Linux).
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

_MAIN = "from chiasm.cli.main import main; main()"
_EVERY = 10.0
_OUT = Path(__file__).parent / "results" / "curves"
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    name, *words = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        asked = [sys.executable, "-c", _MAIN, *words, "--out", str(out)]
        load = os.getloadavg()
        started = time.monotonic()
        with open(os.devnull, "w") as nothing:
            child = subprocess.Popen(asked, stdout=nothing, stderr=nothing)
        samples: list[tuple[float, float, int, int]] = []
        finished = _Finished(out / "shards")
        while child.poll() is None:
            if (used := _used(child.pid)) is not None:
                processor, resident = used
                samples.append((round(time.monotonic() - started, 1), processor, resident, finished.examples()))
                _keep(name, words, load[0], samples)
            time.sleep(_EVERY)
        if child.returncode:
            raise SystemExit(f"chiasm {' '.join(words)} ended with {child.returncode}")
        page = (out / "report.html").stat().st_size
        counts = json.loads((out / "manifest.json").read_text())["counts"]
    found = _keep(name, words, load[0], samples, counts=counts, page_bytes=page)
    print(f"{found['command']}: at the most {max(one[2] for one in samples) / 1e6:.0f} MB")
    for first, last in pairwise(_tenths(samples)):
        each = 1e3 * (last[1] - first[1]) / (last[3] - first[3])
        print(f"examples {first[3]:>7,} to {last[3]:>7,}: {each:.1f} ms of the processor each, {last[2] / 1e6:.0f} MB")


def _keep(name: str, words: list[str], load: float, samples: list[Any], **ended: Any) -> dict[str, Any]:
    """Write what is known by now: one that is stopped leaves its curve as well. `ended`: what is known at its end."""
    found = {
        "command": " ".join(("chiasm", *words)),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "load": {"before": load, "after": os.getloadavg()[0]},
        "finished": bool(ended),
        **ended,
        "columns": ["seconds", "processor_seconds", "resident_bytes", "examples"],
        "samples": samples,
    }
    _OUT.mkdir(parents=True, exist_ok=True)
    (_OUT / f"{name}.json").write_text(json.dumps(found) + "\n")
    return found


class _Finished:
    """Counts the examples of shards as they come."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._seen, self._examples = folder, set[str](), 0

    def examples(self) -> int:
        for path in self._folder.glob("[0-9]*"):
            if path.name not in self._seen:
                try:
                    jobs = json.loads((path / "shard.json").read_text())["jobs"]
                except OSError:  # the run has just ended
                    continue
                self._seen.add(path.name)
                self._examples += sum(job["size"] for job in jobs)
        return self._examples


def _used(pid: int) -> tuple[float, int] | None:
    """Seconds of the processor and resident bytes of a process; None where it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return None
    return (int(fields[11]) + int(fields[12])) / _TICKS, pages * _PAGE


def _tenths(samples: list[tuple[float, float, int, int]]) -> list[tuple[float, float, int, int]]:
    """The first sample at or beyond every tenth of the examples."""
    most = samples[-1][3]
    there = [one for one in samples if one[3]]
    found = [next(one for one in there if one[3] >= most * k / 10) for k in range(11)] if there else []
    return [one for k, one in enumerate(found) if k == 0 or one[3] > found[k - 1][3]]


if __name__ == "__main__":
    main()
