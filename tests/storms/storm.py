"""Runs whose processes are killed at random moments, and what is left of them: `python -m tests.storms.storm`.

A process is forked from one that has loaded the packages and the model, so that a kill falls into the work and not into
the imports. It is killed as the system does it, without a chance to clear up.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from tests.support.counting import CountingTask

from chiasm.results import acquire, provenance, waiting
from chiasm.results.rundir import RunDirectory
from chiasm.results.verify import verify
from chiasm.studies import inputs
from chiasm.studies.study import study

QUIET = {"controls": False, "seed": 3}
VERBS = {
    "eval": {"limit": 40, "batch_size": 2, "seed": 3, "max_new_tokens": 4},
    "flow": {"limit": 12, "batch_size": 2, "keep": "all", "cuts": ["image->last"], "draws": 10, **QUIET},
    "look": {"limit": 24, "batch_size": 2, "maps": 0, **QUIET},
    "align": {"limit": 32, "batch_size": 2, "inside": False, "vocabulary_tokens": 0, **QUIET},
    "skip": {"limit": 24, "batch_size": 4, "calibration": 8, "repeats": 1, "peers": False, **QUIET},
    "prune": {"limit": 12, "calibration": 12, "sparsities": (0.5,), "combine": False, **QUIET},
    "compare": {"models": ("tiny", "tiny@aligned"), "limit": 12, "batch_size": 2, "tasks": (), "seed": 3},
    "project": {
        "domains": ("leaves",),
        "settings": ("zero-shot", "ft-proj"),
        "probes": ("none",),
        "seeds": 1,
        "limit": 8,
        "skill": 0,
    },
}
TIMES = ("timings", "plans", "claims")
"""Tables of `skip` that hold measured times."""
SHARED = ("count", "sums")
PATIENCE = 300.0


class Outcome(NamedTuple):
    """What came of one. `kills`: that met a process at work; `wrong`: rows lost, doubled or different, in words."""

    verb: str
    seed: int
    workers: int
    kills: int
    hung: bool
    wrong: str


def work(verb: str, out: Path) -> None:
    """One process's part in the run of `verb` in `out`."""
    waiting.SECONDS = 0.1
    if verb in SHARED:
        CountingTask(out, examples=80, seconds=0.01, summed=verb == "sums")(0, True, lambda: None)
    else:
        options = dict(VERBS[verb])
        if "models" not in options:
            options["model"] = "tiny"
        found = study(verb)
        found.run(found.spec(**options, out=str(out), resume=True))


def forked(do: Callable[[], None], log: Path) -> int:
    """A process that does `do` and ends; its number."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        handle = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        torch.set_num_threads(1)
        do()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def ended(children: dict[int, float]) -> dict[int, int]:
    """Those of `children` that are over, with their exit status."""
    found = {}
    for child in list(children):
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            found[child] = status
            del children[child]
    return found


def storm(verb: str, seed: int, whole: Path, root: Path, seconds: float) -> Outcome:
    """A run of `verb` by one to three processes, of which up to four are killed. `seconds`: what it takes one."""
    chance = random.Random(f"{verb}/{seed}")
    workers, kills = chance.randint(1, 3), 0
    out, log = root / f"{verb}-{seed}", root / f"{verb}-{seed}.log"
    children: dict[int, float] = {}
    hung, failed = False, ""

    def start() -> None:
        children[forked(lambda: work(verb, out), log)] = time.monotonic()

    for _ in range(workers):
        start()
    for _ in range(chance.randint(1, 4)):
        time.sleep(chance.uniform(0, 0.8 * seconds))
        over = ended(children)
        failed = next((f"exit status {status}" for status in over.values() if status), failed)
        if not children:
            break
        victim = chance.choice(sorted(children))
        os.kill(victim, signal.SIGKILL)
        _, status = os.waitpid(victim, 0)
        kills += os.WIFSIGNALED(status)
        del children[victim]
        start()
    patience = time.monotonic() + PATIENCE
    while children and time.monotonic() < patience:
        failed = next((f"exit status {status}" for status in ended(children).values() if status), failed)
        time.sleep(0.02)
    for child in children:
        hung = True
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    wrong = failed or compared(verb, out, whole, root)
    if wrong:
        print(log.read_text()[-4000:], file=sys.stderr)
    else:
        shutil.rmtree(out, ignore_errors=True)
    return Outcome(verb, seed, workers, kills, hung, wrong)


def compared(verb: str, out: Path, whole: Path, root: Path) -> str:
    """How the tables of a run differ from those of an undisturbed one, in words; empty where they do not."""
    said = root / "compared"
    said.unlink(missing_ok=True)

    def compare() -> None:
        run, other = RunDirectory.load(out), RunDirectory.load(whole)
        assert run.complete, run.manifest["status"]
        problems = verify(out).problems
        assert not problems, problems
        assert run.tables() == other.tables(), (run.tables(), other.tables())
        assert run.counts() == other.counts(), (run.counts(), other.counts())
        for name in run.tables():
            if not (verb == "skip" and name in TIMES):
                assert run.table(name).equals(other.table(name)), name

    _, status = os.waitpid(forked(compare, said), 0)
    return said.read_text()[-2000:] or f"status {status}" if status else ""


def undisturbed(verb: str, root: Path) -> tuple[Path, float]:
    """A run that nobody kills, and the seconds it took."""
    whole, log = root / f"{verb}-whole", root / f"{verb}-whole.log"
    started = time.monotonic()
    _, status = os.waitpid(forked(lambda: work(verb, whole), log), 0)
    assert status == 0, log.read_text()[-4000:]
    return whole, time.monotonic() - started


def prepared() -> None:
    """Load once what every process needs. The model is shared by all that are forked from here."""
    torch.set_num_threads(1)
    # A process that is killed needs no disk that has everything, and git need not be asked anew.
    os.fsync = lambda handle: None
    said = provenance.provenance()
    acquire.provenance = lambda: said
    loaded = inputs.load
    known = {name: loaded(name) for name in ("tiny", "tiny@aligned")}

    def load(source: object = None, **options: object) -> object:
        return known[source] if isinstance(source, str) and source in known else loaded(source, **options)

    inputs.load = load


def main() -> None:
    """Storms over all verbs until the time is over; what came of them goes to a file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbs", nargs="*", default=[*SHARED, *VERBS])
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    prepared()
    root = Path(tempfile.mkdtemp(prefix="storms-"))
    stop = time.monotonic() + 60 * asked.minutes
    known = {}
    for verb in asked.verbs:
        known[verb] = undisturbed(verb, root)
        print(f"{verb}: {known[verb][1]:.1f} s undisturbed", flush=True)
    found: list[Outcome] = []
    seed = asked.seed
    while time.monotonic() < stop:
        for verb in asked.verbs:
            if time.monotonic() < stop:
                found.append(storm(verb, seed, known[verb][0], root, known[verb][1]))
                print(found[-1], flush=True)
        seed += 1
    counts = {}
    for verb in asked.verbs:
        own = [one for one in found if one.verb == verb]
        counts[verb] = {
            "runs": len(own),
            "kills": sum(one.kills for one in own),
            "with_two_or_three_processes": sum(one.workers > 1 for one in own),
            "hangs": sum(one.hung for one in own),
            "wrong": sum(bool(one.wrong) for one in own),
        }
    total = {key: sum(count[key] for count in counts.values()) for key in next(iter(counts.values()))}
    print(json.dumps(counts | {"all": total}, indent=1))
    if asked.write:
        asked.write.write_text(
            json.dumps({"seeds": f"{asked.seed}-{seed - 1}", **counts, "all": total}, indent=1) + "\n"
        )
    if not total["wrong"] and not total["hangs"]:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
