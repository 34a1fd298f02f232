"""What a run of `chiasm project` consists of: its units of work, which are its shards."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, final

from chiasm.studies.project.spec import ProjectSpec
from chiasm.studies.project.tables import OWN
from chiasm.training import setting_of

Told = Callable[[str], None]


class Unit(NamedTuple):
    """One line of work: a setting on a domain under a seed, or (without a setting) the domain's references."""

    projector: str
    seed: int
    domain: int
    setting: str | None


Job = tuple[int, Unit]
"""A unit and its place, which is its shard."""


def units(spec: ProjectSpec) -> list[Unit]:
    """All work of a run, in order; its places are the shards, so an interrupted run goes on where it was."""
    seeds = range(spec.seed, spec.seed + spec.seeds)
    own = [Unit(OWN, seed, d, name) for d in range(len(spec.domains)) for seed in seeds for name in spec.settings]
    beside = [Unit(OWN, spec.seed, d, None) for d in range(len(spec.domains))]
    others = [
        Unit(projector, seed, d, name)
        for projector in spec.projectors
        for seed in seeds
        for d in range(len(spec.domains))
        for name in tuned_settings(spec)
    ]
    return [*beside, *own, *others]


def tuned_settings(spec: ProjectSpec) -> list[str]:
    """The settings that another projector is put through: those that tune it with the question shown."""
    return [name for name in spec.settings if setting_of(name).tunes and not setting_of(name).plain]


def lanes(work: Iterable[Job]) -> list[list[Job]]:
    """Units that share what is computed once, to be done by one process, in order."""
    found: dict[tuple[str, int, int], list[Job]] = {}
    for index, unit in work:
        # Another projector is aligned once per seed; a domain's untouched states and frozen probes are known per seed.
        found.setdefault((unit.projector, unit.seed, unit.domain if unit.projector == OWN else 0), []).append(
            (index, unit)
        )
    return list(found.values())


def named(unit: Unit, spec: ProjectSpec) -> str:
    """What a unit does, for people."""
    what = "references" if unit.setting is None else f"{unit.setting}, seed {unit.seed}"
    beside = "" if unit.projector == OWN else f", projector {unit.projector}"
    return f"{spec.domains[unit.domain]}, {what}{beside}"


@final
class Telling:
    """Says what is begun, and how long the rest will take if it goes on as it went so far."""

    def __init__(self, spec: ProjectSpec, count: int, missing: int, say: Told | None) -> None:
        self.spec, self.count, self.missing, self.say = spec, count, missing, say
        self.done, self.given, self.started = 0, count - missing, time.monotonic()

    def begun(self, job: Job) -> None:
        """Say that a unit is begun."""
        self.given += 1
        if self.say is None:
            return
        seconds = (time.monotonic() - self.started) * (self.missing - self.done) / max(1, self.done)
        left = f" (about {math.ceil(seconds / 60)} min left)" if self.done else ""
        self.say(f"{self.given} of {self.count}: {named(job[1], self.spec)}{left}")

    @contextmanager
    def interrupted(self) -> Iterator[None]:
        """Says how to go on where this is broken off."""
        try:
            yield
        except KeyboardInterrupt as stop:
            stop.add_note(
                f"Interrupted: {self.count - self.missing + self.done} of {self.count} settings are finished.\n"
                "Run the same command again with --resume (in Python: resume=True) to go on from there."
            )
            raise
