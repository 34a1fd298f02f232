"""Runs shared by actors of a Ray cluster that are killed at random: `python -m tests.storms.ray_storm`.

The cluster is started once, on this machine; the actors of every run are new, and import everything anew, so that kills
meet them while they start as well as at work.
"""

import argparse
import json
import os
import random
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from tests.storms.storm import QUIET, Outcome
from tests.support.counting import CountingTask

from chiasm.core.errors import ChiasmError
from chiasm.results.rundir import RunDirectory
from chiasm.results.verify import verify
from chiasm.runners.ray_actors import RayActors
from chiasm.runners.sharing import Task, share
from chiasm.studies.shared import StudyTask
from chiasm.studies.study import study

VERBS = {
    "eval": {"limit": 240, "batch_size": 2, "seed": 3, "max_new_tokens": 4},
    "flow": {"limit": 40, "batch_size": 2, "keep": "all", "cuts": ["image->last"], "draws": 10, **QUIET},
}
_BEFORE = "before it had begun"
_ACTOR = b"ray::_Actor"


def actors() -> list[int]:
    """The processes of actors that are at work on this machine."""
    found = []
    for one in Path("/proc").glob("[0-9]*"):
        try:
            if (one / "cmdline").read_bytes().startswith(_ACTOR):
                found.append(int(one.name))
        except OSError:  # ended meanwhile
            continue
    return found


@dataclass(frozen=True)
class OneThread:
    """A task with one thread, as the undisturbed run has: sums of floats depend on how many there are."""

    task: Task

    def __call__(self, number: int, first: bool, opened: Callable[[], None]) -> None:
        torch.set_num_threads(1)
        self.task(number, first, opened)


def task_of(verb: str, out: Path) -> Task:
    return OneThread(_task(verb, out))


def _task(verb: str, out: Path) -> Task:
    if verb in ("count", "sums"):
        return CountingTask(out, examples=400, seconds=0.02, summed=verb == "sums")
    found = study(verb)
    return StudyTask(verb, found.spec(model="tiny", out=out, resume=True, device="cpu", **VERBS[verb]))


def storm(verb: str, seed: int, whole: Path, root: Path) -> Outcome:
    """A run of `verb` by one to three actors, of which some are killed."""
    chance = random.Random(f"ray/{verb}/{seed}")
    workers, out = chance.randint(1, 3), root / f"{verb}-{seed}"
    kills, over = [], threading.Event()

    def kill() -> None:
        for _ in range(chance.randint(1, 3)):
            # On a busy machine an actor needs longer to start than any time that is drawn here.
            while not actors():
                if over.wait(0.1):
                    return
            if over.wait(chance.uniform(0.1, 8.0)):
                return
            if there := sorted(actors()):
                victim = chance.choice(there)
                try:
                    os.kill(victim, signal.SIGKILL)
                except ProcessLookupError:
                    continue
                kills.append(victim)

    hand = threading.Thread(target=kill)
    hand.start()
    try:
        wrong = shared(verb, out, whole, root, workers)
    finally:
        over.set()
        hand.join()
    if _BEFORE in wrong:
        # Killed three times while it started, which is said and ends the command: the user gives it again.
        wrong = shared(verb, out, whole, root, workers)
    if not wrong:
        shutil.rmtree(out, ignore_errors=True)
    return Outcome(verb, seed, workers, len(kills), False, wrong)


def shared(verb: str, out: Path, whole: Path, root: Path, workers: int) -> str:
    """What is wrong with a run after actors have shared it; empty where nothing is."""
    try:
        with RayActors(None, None, root) as place:
            place.count = workers
            share(task_of(verb, out), workers, place, lambda: RunDirectory.join(out, study_tables(verb)))
    except ChiasmError as error:
        return f"ended with: {error}"
    return compared(out, whole)


def study_tables(verb: str) -> tuple:
    from tests.support.rundirs import TABLES

    return tuple(TABLES) if verb in ("count", "sums") else study(verb).schemas


def compared(out: Path, whole: Path) -> str:
    """How the tables of a run differ from those of an undisturbed one; empty where they do not."""
    run, other = RunDirectory.load(out), RunDirectory.load(whole)
    if not run.complete:
        return f"status {run.manifest['status']}"
    if problems := verify(out).problems:
        return f"{problems}"
    if run.tables() != other.tables() or run.counts() != other.counts():
        return f"{run.tables()} {run.counts()}, undisturbed {other.tables()} {other.counts()}"
    return ", ".join(name for name in run.tables() if not run.table(name).equals(other.table(name)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbs", nargs="*", default=["count", "sums", *VERBS])
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init("local", num_cpus=3, include_dashboard=False, log_to_driver=False, namespace="chiasm")
    root = Path(tempfile.mkdtemp(prefix="chiasm-ray-storm-"))
    outcomes: list[Outcome] = []
    begin, seed = time.monotonic(), asked.seed
    wholes = {}
    for verb in asked.verbs:
        wholes[verb] = root / f"{verb}-whole"
        task_of(verb, wholes[verb])(0, True, lambda: None)
    while time.monotonic() - begin < 60 * asked.minutes:
        for verb in asked.verbs:
            outcome = storm(verb, seed, wholes[verb], root)
            print(outcome, flush=True)
            outcomes.append(outcome)
        seed += 1
    ray.shutdown()
    counts = {
        verb: {
            "runs": sum(one.verb == verb for one in outcomes),
            "kills": sum(one.kills for one in outcomes if one.verb == verb),
            "wrong": sum(bool(one.wrong) for one in outcomes if one.verb == verb),
        }
        for verb in asked.verbs
    }
    print(json.dumps(counts))
    if asked.write:
        asked.write.write_text(json.dumps({"seeds": [asked.seed, seed - 1], "verbs": counts}, indent=1) + "\n")


if __name__ == "__main__":
    main()
