"""How many times as fast two processes are as one, each on one thread: `python -m bench.workers` (under 4 minutes).

    python -m bench.workers --runner ray --repeats 2      # the same of Ray actors

Runs of one process and of several alternate, so that what else the machine does falls on both. Reported: examples per
second of the part in which examples are computed (from the first claim in the run directory to the last finished
batch, as seen from outside, about 20 times a second) and of the whole command with its start, tables, claims and page.
Processor time is that of all processes, where their parent has waited for them (not under Ray).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

_MAIN = "from chiasm.cli.main import main; main()"
_OUT = Path(__file__).parent / "results"
_TICK = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--verb", default="flow")
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--runner", choices=("processes", "ray"), default="processes")
    parser.add_argument("--write", action="store_true", help="into bench/results/workers-RUNNER.json")
    asked = parser.parse_args()
    found: dict[int, list[dict[str, float]]] = {1: [], asked.workers: []}
    load = os.getloadavg()[0]
    for repeat in range(asked.repeats):
        for count in (1, asked.workers) if repeat % 2 == 0 else (asked.workers, 1):
            found[count].append(measured(asked.verb, asked.limit, count, asked.runner))
            print(count, json.dumps(found[count][-1]), flush=True)
    ratios = {
        part: [few[part] / many[part] for few, many in zip(found[1], found[asked.workers], strict=True)]
        for part in ("examples_seconds", "whole_seconds")
    }
    for part, several in ratios.items():
        name = part.removesuffix("_seconds")
        print(f"{name}: {median(several):.2f} times as fast ({min(several):.2f} to {max(several):.2f})")
    if asked.write:
        written = {
            "command": f"chiasm {asked.verb} tiny --limit {asked.limit} --runner {asked.runner}",
            "workers": [1, asked.workers],
            "cores": os.cpu_count(),
            "load": {"before": load, "after": os.getloadavg()[0]},
            "runs": found,
            "median_ratio": {part: median(several) for part, several in ratios.items()},
            "ratios": ratios,
        }
        (_OUT / f"workers-{asked.runner}.json").write_text(json.dumps(written, indent=1) + "\n")


def measured(verb: str, limit: int, count: int, runner: str) -> dict[str, float]:
    """Seconds of the examples' part and of the whole, processor seconds of the whole."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        words = [verb, "tiny", "--limit", str(limit), "--workers", str(count), "--runner", runner, "--out", str(out)]
        one_thread = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        started = time.monotonic()
        with open(os.devnull, "w") as nothing:
            command = [sys.executable, "-c", _MAIN, *words]
            child = subprocess.Popen(command, stdout=nothing, stderr=nothing, env=one_thread)
        begun, ended = 0.0, 0.0
        while True:
            pid, status, used = os.wait4(child.pid, os.WNOHANG)
            if pid:
                break
            now = time.monotonic()
            if not begun and any((out / ".workers").glob("jobs-*")):
                begun = now
            if not ended and begun and _finished(out) >= limit:
                ended = now
            time.sleep(_TICK)
        whole = time.monotonic() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode or not ended:
            raise SystemExit(f"chiasm {' '.join(words)} ended with {child.returncode}")
        processor = used.ru_utime + used.ru_stime
        return {
            "examples_seconds": round(ended - begun, 2),
            "whole_seconds": round(whole, 2),
            "processor_seconds": round(processor, 2),
        }


def _finished(out: Path) -> int:
    """Examples of finished batches; all of them once what is made of them has begun."""
    total = 0
    for path in (out / "shards").glob("[0-9]*/shard.json"):
        try:
            total += sum(job["size"] for job in json.loads(path.read_text())["jobs"])
        except (OSError, ValueError):  # it is just written, or merged and removed
            continue
    return total


if __name__ == "__main__":
    main()
