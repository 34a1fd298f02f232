"""A run that several processes compute together, here or on a Ray cluster: what `--workers` does, for every study."""

import shutil
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from chiasm.core.errors import ChiasmError
from chiasm.core.options import declared
from chiasm.results.rundir import RunDirectory
from chiasm.runners.ray_actors import RayActors
from chiasm.runners.sharing import LocalProcesses, device_of, sensible_count, share
from chiasm.studies.options import StudySpec, model_name
from chiasm.studies.study import OPENED, Study, study


@final
@dataclass(frozen=True, slots=True)
class StudyTask:
    """The run of `spec`, as each of several processes computes it."""

    verb: str
    spec: StudySpec

    def load(self) -> None:
        study(self.verb).load()

    def __call__(self, number: int, first: bool, opened: Callable[[], None]) -> None:
        spec = self.spec if first else self.spec.complete(resume=True, fresh=False)
        if spec.device is None:
            spec = spec.complete(device=device_of(number))
        OPENED.set(opened)
        study(self.verb).run(spec)


def run_shared(of: Study, spec: StudySpec) -> RunDirectory:
    """The finished run of `spec`, computed by so many processes as it asks for.

    **Errors:** as of the study; `ChiasmError` for a model in memory, which only this process has.
    """
    on_ray = spec.runner == "ray"
    if not on_ray and _count(spec, sensible_count()) == 1:
        return of.run(spec.complete(workers=1))
    _require_named(spec)
    out = Path(tempfile.mkdtemp(prefix="chiasm-")) if spec.out is None else Path(spec.out).absolute()
    asked = spec.complete(out=out, workers=1, runner="processes", address=None, gpus_each=None)

    def join() -> RunDirectory:
        return RunDirectory.join(out, of.schemas)

    if on_ray:
        with RayActors(spec.address, spec.gpus_each, out.parent) as place:
            place.count = _count(spec, place.most)
            # Several GPUs of one process are for a model that one cannot hold.
            spread = place.gpus > 1 and spec.device is None
            task = StudyTask(of.verb, asked.complete(device="auto") if spread else asked)
            restarted = share(task, place.count, place, join)
    else:
        count = _count(spec, sensible_count())
        restarted = share(StudyTask(of.verb, asked), count, LocalProcesses(count), join)
    directory = RunDirectory.load(out, lambda verb: of.schemas)
    if restarted:
        directory.note(restarted=directory.manifest.get("restarted", 0) + restarted)
    if spec.out is None:
        weakref.finalize(directory, shutil.rmtree, out, ignore_errors=True)
    return directory


def _count(spec: StudySpec, places: int) -> int:
    return spec.auto_workers(places) if spec.workers == "auto" else int(spec.workers or 1)


def _require_named(spec: StudySpec) -> None:
    for one in declared(type(spec)):
        value: Any = getattr(spec, one.name)
        several = value if isinstance(value, tuple) else (value,)
        if one.option.recorded is model_name and not all(isinstance(item, str | Path | None) for item in several):
            found = f"{one.name} is in the memory of this one"
            raise ChiasmError("share the work among processes", found, "Name a model, or leave workers out")
