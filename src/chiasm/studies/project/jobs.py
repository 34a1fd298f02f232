"""What a run of `chiasm project` consists of: its jobs, whose places are their keys."""

from collections.abc import Sequence
from typing import NamedTuple

from chiasm.core.example import Example
from chiasm.data.domains import Domain
from chiasm.studies.project.spec import ProjectSpec
from chiasm.studies.project.tables import OWN
from chiasm.training.settings import setting_of


class ProjectInputs(NamedTuple):
    """What a run works on. `captions`: for the alignment of other projectors. `scenes`: of the general skill."""

    spec: ProjectSpec
    domains: Sequence[Domain]
    captions: Sequence[Example]
    scenes: Sequence[Example]


class ProjectJob(NamedTuple):
    """A setting on a domain (by its place) under a seed, or without a setting the domain's references."""

    projector: str
    seed: int
    domain: int
    setting: str | None


def jobs_of(spec: ProjectSpec) -> list[ProjectJob]:
    """All work of a run, in order: references, the model's own projector, other projectors."""
    domains = range(len(spec.sources))
    own = [ProjectJob(OWN, seed, d, name) for d in domains for seed in spec.all_seeds for name in spec.settings]
    references = [ProjectJob(OWN, spec.seed, d, None) for d in domains]
    others = [
        ProjectJob(projector, seed, d, name)
        for projector in spec.projectors
        for seed in spec.all_seeds
        for d in domains
        for name in tuned_settings(spec)
    ]
    return [*references, *own, *others]


def tuned_settings(spec: ProjectSpec) -> list[str]:
    """The settings that another projector is put through: those that tune it with the question shown."""
    return [name for name in spec.settings if setting_of(name).tunes and not setting_of(name).plain]


def shared_by(job: ProjectJob) -> tuple[str, int, int]:
    """Jobs that are equal in this share what is computed once: one process does them, in order.

    Another projector is aligned once per seed; a domain's untouched states and frozen probes are known per seed.
    """
    return job.projector, job.seed, job.domain if job.projector == OWN else 0


def description(job: ProjectJob, domains: Sequence[Domain]) -> str:
    """What a job does, for people."""
    what = "references" if job.setting is None else f"{job.setting}, seed {job.seed}"
    beside = "" if job.projector == OWN else f", projector {job.projector}"
    return f"{domains[job.domain].name}, {what}{beside}"
