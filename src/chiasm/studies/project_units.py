"""What a run of `chiasm project` consists of: its units of work, which are its shards."""

from collections.abc import Iterable
from typing import NamedTuple

from chiasm.results.project_schemas import OWN
from chiasm.studies.project_spec import ProjectSpec
from chiasm.training import setting_of


class Unit(NamedTuple):
    """One line of work: a setting on a domain under a seed, or (without a setting) the domain's references."""

    projector: str
    seed: int
    domain: int
    setting: str | None


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


def lanes(work: Iterable[tuple[int, Unit]]) -> list[list[tuple[int, Unit]]]:
    """Units that share what is computed once, to be done by one process, in order."""
    found: dict[tuple[str, int, int], list[tuple[int, Unit]]] = {}
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
