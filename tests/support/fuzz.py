"""Damaged inputs, drawn by a seed, put to everything that reads data or media; what comes out is counted.

`python -m tests.support.fuzz --count N` tries N inputs and writes what happened to `tests/storms/readers.json`, which
SECURITY.md cites. Every input is named by its kind and number, so that `--only KIND NUMBER` puts the same one again.
"""

import argparse
import json
import math
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.fuzz_readers import READERS, Put
from tests.support.fuzz_runs import RUNS

from chiasm.core.errors import ChiasmError, ExampleError

SECONDS = 10.0
"""Longest time that one input may take."""
MEMORY = 8 << 30
"""Address space of the process in bytes: an input that asks for more fails where it asks."""
COUNTS = Path(__file__).parents[1] / "storms" / "readers.json"

KINDS: dict[str, Put] = READERS | RUNS


class TooSlowError(BaseException):
    """An input took longer than it may."""


def put(kind: str, number: int, folder: Path) -> tuple[str, float, str]:
    """How one input ended (`read`, `refused`, `wrong` or `slow`), after how many seconds, and what was raised."""
    rng = random.Random(f"{kind}/{number}")
    begun = time.perf_counter()
    try:
        with _time_limit():
            KINDS[kind](rng, folder)
        ended, said = "read", ""
    except (ChiasmError, ExampleError) as error:
        ended, said = "refused", str(error)
    except TooSlowError:
        ended, said = "slow", "".join(traceback.format_exc()[-600:])
    except Exception:
        ended, said = "wrong", traceback.format_exc()
    seconds = time.perf_counter() - begun
    return ("slow" if seconds > SECONDS else ended), seconds, said


@contextmanager
def _time_limit() -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise TooSlowError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def fuzz(
    count: int, first: int = 0, say: Callable[[str], None] = lambda text: None, chosen: Sequence[str] = ()
) -> dict[str, Any]:
    """`count` inputs, shared among all kinds, or those that are chosen: how many ended how, the slowest, and the peak
    of memory.
    """
    asked = [kind for kind in KINDS if not chosen or kind in chosen]
    each = math.ceil(count / len(asked))
    kinds: dict[str, dict[str, int]] = {}
    slowest, wrong = ("", 0.0), []
    for kind in asked:
        ends: Counter[str] = Counter()
        for number in range(first, first + each):
            folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
            try:
                ended, seconds, said = put(kind, number, folder)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            ends[ended] += 1
            if seconds > slowest[1]:
                slowest = f"{kind} {number}", seconds
            if ended in ("wrong", "slow"):
                wrong.append(f"{kind} {number}: {said}")
                say(wrong[-1])
        kinds[kind] = dict(sorted(ends.items()))
        say(f"{kind}: {kinds[kind]}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "inputs": each * len(asked),
        "seed": f"KIND/{first} to KIND/{first + each - 1}",
        "wrong": sum(ends.get("wrong", 0) for ends in kinds.values()),
        "slow": sum(ends.get("slow", 0) for ends in kinds.values()),
        "seconds_allowed": SECONDS,
        "slowest": {"input": slowest[0], "seconds": round(slowest[1], 2)},
        "peak_memory_mb": round(peak),
        "kinds": kinds,
        "what": wrong,
    }


def together(kept: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """Counts that were kept, with those of some kinds in place of what there was of them."""
    kinds = {kind: ends for kind in KINDS if (ends := found["kinds"].get(kind) or kept["kinds"].get(kind))}
    slowest = max(kept["slowest"], found["slowest"], key=lambda one: one["seconds"])
    total = {name: sum(ends.get(name, 0) for ends in kinds.values()) for name in ("wrong", "slow")}
    peak = max(kept["peak_memory_mb"], found["peak_memory_mb"])
    whole = {"inputs": sum(sum(ends.values()) for ends in kinds.values()), "slowest": slowest, "peak_memory_mb": peak}
    return kept | total | whole | {"kinds": kinds}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--kinds", nargs="*", default=(), help="only these; counts of others in --out are kept")
    parser.add_argument("--only", nargs=2, metavar=("KIND", "NUMBER"))
    parser.add_argument("--out", type=Path, default=COUNTS)
    given = parser.parse_args()
    if given.only:
        print(*put(given.only[0], int(given.only[1]), Path(tempfile.mkdtemp(prefix="fuzz-"))), sep="\n")
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    found = fuzz(given.count, given.first, lambda text: print(text, file=sys.stderr, flush=True), given.kinds)
    what = found.pop("what")
    if given.kinds and given.out.exists():
        found = together(json.loads(given.out.read_text()), found)
    given.out.write_text(json.dumps(found, indent=1) + "\n")
    sys.exit(bool(what))


if __name__ == "__main__":
    main()
