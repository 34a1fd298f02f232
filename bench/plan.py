"""Does `chiasm plan` say what the run then takes? Both, one after the other, for several verbs.

    python -m bench.plan [--write bench/results/plan.json]

On a machine that does other work, processor time says more than that of the clock.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CASES = {
    "eval": ("eval", "tiny", "--limit", "2400"),
    "flow": ("flow", "tiny", "--limit", "150"),
    "look": ("look", "tiny", "--limit", "400"),
    "align": ("align", "tiny", "--limit", "160"),
}
CHIASM = (sys.executable, "-c", "from chiasm.cli.main import main; main()")


def planned(words: tuple[str, ...]) -> dict:
    done = subprocess.run([*CHIASM, "plan", *words, "--json"], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def taken(words: tuple[str, ...], out: Path) -> dict[str, float]:
    """What the run itself takes: seconds, processor seconds, bytes in memory at the most, and on disk."""
    begin = time.monotonic()
    with open(os.devnull, "w") as nothing:
        child = subprocess.Popen([*CHIASM, *words, "--out", str(out)], stdout=nothing, stderr=nothing)
        _, status, usage = os.wait4(child.pid, 0)
    assert status == 0, words
    unit = 1 if sys.platform == "darwin" else 1024
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    return {
        "seconds": time.monotonic() - begin,
        "processor_seconds": usage.ru_utime + usage.ru_stime,
        "memory_bytes": usage.ru_maxrss * unit,
        "disk_bytes": size,
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--verbs", nargs="*", default=list(CASES))
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in asked.verbs:
            plan, run = planned(CASES[name]), taken(CASES[name], Path(folder) / name)
            estimates = {key: plan[key]["estimate"] if isinstance(plan[key], dict) else float(plan[key]) for key in run}
            found[name] = {
                "command": " ".join(("chiasm", *CASES[name])),
                "load": os.getloadavg()[0],
                "trials": [one["examples"] for one in plan["trials"]],
                "trial_seconds": sum(one["seconds"] for one in plan["trials"]) + plan["loading_seconds"],
                "planned": estimates,
                "taken": run,
                "ratio": {key: estimates[key] / run[key] for key in run},
            }
            print(name, json.dumps(found[name]["ratio"]), found[name]["trials"], flush=True)
    if asked.write:
        asked.write.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
