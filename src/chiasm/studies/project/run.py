"""Does the projector learn to see? A model is adapted to domains in several ways, and asked before and after.

Source: Verma et al. 2024 (ACL short, arXiv 2402.16832). The released FT-Proj never shows the question to the model,
crops pictures, and runs at 50 times the rate of FT-E2E; here the fair form is the default and the released one a name.
"""

import tempfile
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from chiasm.core.example import Example
from chiasm.data.domains import Domain
from chiasm.models.encoding.encoded import Encoded
from chiasm.models.view import ModelView
from chiasm.results.rundir import RunDirectory
from chiasm.runners.processes import spread
from chiasm.studies.project.aligned import aligned, late, own_projector
from chiasm.studies.project.answers import answers, general_skill, labels_of
from chiasm.studies.project.inside import InsideStudy
from chiasm.studies.project.references import references
from chiasm.studies.project.richness import Frames, Richness
from chiasm.studies.project.rows import Prepared, caption_items, features_of
from chiasm.studies.project.scores import scores
from chiasm.studies.project.spec import ProjectSpec
from chiasm.studies.project.tables import OWN
from chiasm.studies.project.units import Job, Telling, Told, Unit, lanes, tuned_settings, units
from chiasm.training import Options, Original, Setting, Tuned, setting_of, trainable, tune
from chiasm.training.features import Features, reusable
from chiasm.training.parts import parts_of

Found = tuple[dict[str, Any], int, list[tuple[str, str]]]
Do = Callable[[Job], Found]


class Copies(NamedTuple):
    """Processes that share the work, and what loads the model in each of them."""

    count: int
    load: Callable[[], ModelView]


def run_project(
    spec: ProjectSpec,
    view: ModelView,
    domains: Sequence[Domain],
    captions: Sequence[Example],
    scenes: Sequence[Example],
    directory: RunDirectory,
    contrastive: Path | str | None = None,
    say: Told | None = None,
    copies: Copies | None = None,
) -> None:
    """Fill `directory` with the tables of `spec`; what it already holds is not computed again.

    The model is changed while a setting is trained and put back, bit by bit, behind it. `captions`: what other
    projectors are aligned on. `scenes`: questions of the general skill. `copies`: how several processes come by the
    model (None: all is done in this one).
    """
    work = units(spec)
    missing = [(index, unit) for index, unit in enumerate(work) if index not in directory.done()]
    told = Telling(spec, len(work), len(missing), say)
    with tempfile.TemporaryDirectory(prefix="chiasm-project-") as scratch:
        given = (spec, domains, captions, scenes, Path(scratch), contrastive)
        ordered = lanes(missing)
        if copies is not None and min(copies.count, len(ordered)) > 1:
            opened = partial(_copy, copies.load, view.model.state_dict())
            found = spread(partial(_begin, opened, *given), ordered, copies.count, told.begun)
        else:
            found = _one_by_one(_begin(lambda: view, *given, 0), missing, told.begun)
        with closing(found), told.interrupted():
            for (index, _), (frames, kept, failures) in found:
                directory.write_shard(index, frames, failures=failures, kept=kept)
                told.done += 1
        if spec.inside:
            InsideStudy(spec, domains, scenes).keep(view, directory)
    directory.finish()


def _one_by_one(work: Do, missing: Sequence[Job], begun: Callable[[Job], None]) -> Generator[tuple[Job, Found]]:
    for job in missing:
        begun(job)
        yield job, work(job)


def _copy(load: Callable[[], ModelView], state: dict[str, Any]) -> ModelView:
    view = load()
    view.model.load_state_dict(state)  # it may have been tuned since it was loaded
    return view


def _begin(
    opened: Callable[[], ModelView],
    spec: ProjectSpec,
    domains: Sequence[Domain],
    captions: Sequence[Example],
    scenes: Sequence[Example],
    scratch: Path,
    contrastive: Path | str | None,
    number: int,
) -> Do:
    own = scratch / str(number)
    own.mkdir()
    study = _Study(spec, opened(), domains, captions, scenes, own, contrastive)
    return lambda job: study.compute(job[1])


class _Study:
    def __init__(
        self,
        spec: ProjectSpec,
        view: ModelView,
        domains: Sequence[Domain],
        captions: Sequence[Example],
        scenes: Sequence[Example],
        scratch: Path,
        contrastive: Path | str | None,
    ) -> None:
        self.spec, self.view, self.domains = spec, view, domains
        self.captions, self.scenes, self.scratch, self.contrastive = captions, scenes, scratch, contrastive
        self._prepared: tuple[str, int, Prepared] | None = None
        self._swapped: tuple[str, int, ModelView] | None = None
        self._scenes: tuple[str, list[Encoded]] | None = None
        self._aligned: list[dict[str, Any]] = []
        self._seen: Features | None = None
        self._richness = Richness(spec, scratch) if spec.probes else None
        self._inside = InsideStudy(spec, domains, scenes) if spec.inside else None

    def compute(self, unit: Unit) -> Found:
        """The rows of one unit, the pictures behind them (told once per domain), and pictures that failed."""
        self._aligned = []
        view = self._view_of(unit)
        prepared = self._prepare(view, unit)
        if unit.setting is None:
            seeds = list(range(self.spec.seed, self.spec.seed + self.spec.seeds))
            found = references(prepared, seeds, self.contrastive)
            parts = (prepared.domain.train, prepared.domain.validation, prepared.domain.test)
            frames = {"references": found}
            if self.spec.projectors and unit.domain == 0:
                frames["aligned"] = [own_projector(self.view, self.captions, self.spec.seed)]
            return frames, sum(map(len, parts)), prepared.failures
        frames = self._tuned(view, prepared, setting_of(unit.setting), unit)
        return frames | ({"aligned": self._aligned} if self._aligned else {}), 0, []

    def _tuned(self, view: ModelView, prepared: Prepared, setting: Setting, unit: Unit) -> Frames:
        spec = self.spec
        about = {
            "domain": prepared.domain.name,
            "setting": setting.name,
            "seed": unit.seed,
            "projector": unit.projector,
        }
        pixels = "tower" in setting.parts
        result = Tuned(0, (), 0.0, None)
        chosen, original = view, None
        read: Frames = {}
        if setting.tunes:
            if self._richness is not None:
                self._richness.before(view, prepared, about)
            chosen = trainable(view, setting, unit.seed)
            original = Original(chosen)
        try:
            # Tuning too: broken off or failed, it must not leave a model that another run would take for untouched.
            reused = prepared.reused and not pixels
            if setting.tunes:
                rows = prepared.training(unit.seed, plain=setting.plain, square=setting.square, pixels=pixels)
                result = tune(chosen, rows, setting, self._options(setting, unit.seed, reused))
            test = prepared.testing(unit.seed, pixels=pixels, output=spec.output)
            found = answers(chosen, prepared.domain, test, labels_of(view, prepared.domain), spec.unit, reused=reused)
            skill = general_skill(chosen, self.scenes, self._encoded_scenes(view, unit.projector), spec.unit)
            drift = 0.0 if original is None else original.moved(only=projector_names(chosen))
            if self._richness is not None:
                read = self._richness.frames(chosen, prepared, setting, about)
            if self._inside is not None:
                read |= self._inside.frames(chosen, prepared.domain, about)
        finally:
            if original is not None:
                original.restore()
                if setting.rank:
                    chosen.model.unload()
        labels = [row["label"] for row in found]
        constrained = scores(labels, [row["constrained"] for row in found])
        row = about | {
            "epochs": spec.epochs if setting.tunes else 0.0,
            **scores(labels, [row["parsed"] for row in found]),
            "invalid_rate": sum(row["parsed"] is None for row in found) / len(found),
            "constrained_macro_f1": constrained["macro_f1"],
            "constrained_accuracy": constrained["accuracy"],
            "skill": skill,
            "skill_n": len(self.scenes),
            "steps": result.steps,
            "loss": late(result.losses),
            "projector_drift": drift,
            "diverged": result.diverged,
        }
        return {"tuning": [row], "predictions": [about | one for one in found], **read}

    def _options(self, setting: Setting, seed: int, reused: bool) -> Options:
        spec = self.spec
        return Options(
            epochs=spec.epochs,
            batch=spec.batch_of(setting.name),
            scale=spec.scale,
            seed=seed,
            bf16=spec.bf16,
            checkpointing=spec.checkpointing,
            reused=reused,
        )

    def _prepare(self, view: ModelView, unit: Unit) -> Prepared:
        if self._prepared is None or self._prepared[:2] != (unit.projector, unit.domain):
            where = self.scratch / f"{abs(hash(unit.projector))}-{unit.domain}"
            self._prepared = (unit.projector, unit.domain, Prepared(view, self.domains[unit.domain], where))
        return self._prepared[2]

    def _encoded_scenes(self, view: ModelView, projector: str) -> list[Encoded]:
        if self._scenes is None or self._scenes[0] != projector:
            self._scenes = (projector, [view.encode(example) for example in self.scenes])
        return self._scenes[1]

    def _view_of(self, unit: Unit) -> ModelView:
        """The model, or a copy with another projector, aligned on captions under the unit's seed."""
        if unit.projector == OWN:
            return self.view
        if self._swapped is None or self._swapped[:2] != (unit.projector, unit.seed):
            self._prepared = None
            if self._seen is None and reusable(self.view):
                # The tower stays as it is whatever stands behind it: every picture goes through it once.
                self._seen = features_of(self.view, caption_items(self.captions), self.scratch / "captions.npy")
            swapped, row = aligned(self.view, unit.projector, self.captions, self.spec, unit.seed, self._seen)
            self._swapped = (unit.projector, unit.seed, swapped)
            # Told once: a run that goes on aligns again, and comes out the same.
            first = unit.domain == 0 and unit.setting == tuned_settings(self.spec)[0]
            self._aligned = [row] if first else []
        return self._swapped[2]


def projector_names(view: ModelView) -> set[str]:
    """The names of the projector's parameters."""
    return {name for name, part in parts_of(view).items() if part == "projector"}


__all__ = ["Copies", "Unit", "run_project", "units"]
