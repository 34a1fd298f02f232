"""Does the projector learn to see? A model is adapted to domains in several ways, and asked before and after.

Source: Verma et al. 2024 (ACL short, arXiv 2402.16832). The released FT-Proj never shows the question to the model,
crops pictures, and runs at 50 times the rate of FT-E2E; here the fair form is the default and the released one a name.
"""

import copy
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from chiasm.core.example import Example
from chiasm.data.domains import Domain
from chiasm.models.encoded import Encoded
from chiasm.models.projectors import parse_projector, swap_projector
from chiasm.models.view import ModelView
from chiasm.results.project_schemas import OWN
from chiasm.results.project_scores import scores
from chiasm.results.rundir import RunDirectory
from chiasm.studies.project_answers import answers, general_skill, labels_of
from chiasm.studies.project_inside import InsideStudy
from chiasm.studies.project_references import references
from chiasm.studies.project_richness import Frames, Richness
from chiasm.studies.project_rows import Prepared, caption_items, caption_rows, features_of
from chiasm.studies.project_spec import ProjectSpec
from chiasm.training import Options, Original, Setting, Tuned, setting_of, trainable, tune
from chiasm.training.features import Features, reusable
from chiasm.training.parts import parts_of

Told = Callable[[str], None]


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


def run_project(
    spec: ProjectSpec,
    view: ModelView,
    domains: Sequence[Domain],
    captions: Sequence[Example],
    scenes: Sequence[Example],
    directory: RunDirectory,
    contrastive: Path | str | None = None,
    say: Told | None = None,
) -> None:
    """Fill `directory` with the tables of `spec`; what it already holds is not computed again.

    The model is changed while a setting is trained and put back, bit by bit, behind it. `captions`: what other
    projectors are aligned on. `scenes`: questions of the general skill.
    """
    work = units(spec)
    missing = [index for index in range(len(work)) if index not in directory.done()]
    with tempfile.TemporaryDirectory(prefix="chiasm-project-") as scratch:
        study = _Study(spec, view, domains, captions, scenes, Path(scratch), contrastive)
        for index in missing:
            if say is not None:
                say(f"{index + 1} of {len(work)}: {_named(work[index], spec)}")
            frames, kept, failures = study.compute(work[index])
            directory.write_shard(index, frames, failures=failures, kept=kept)
        if spec.inside:
            InsideStudy(spec, domains, scenes).keep(view, directory)
    directory.finish()


def _named(unit: Unit, spec: ProjectSpec) -> str:
    what = "references" if unit.setting is None else f"{unit.setting}, seed {unit.seed}"
    beside = "" if unit.projector == OWN else f", projector {unit.projector}"
    return f"{spec.domains[unit.domain]}, {what}{beside}"


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

    def compute(self, unit: Unit) -> tuple[dict[str, Any], int, list[tuple[str, str]]]:
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
                frames["aligned"] = [self._own_projector()]
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
            chosen = trainable(view, setting)
            original = Original(chosen)
            rows = prepared.training(unit.seed, plain=setting.plain, square=setting.square, pixels=pixels)
            result = tune(chosen, rows, setting, self._options(setting, unit.seed, prepared.reused and not pixels))
        try:
            reused = prepared.reused and not pixels
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
            "loss": _late(result.losses),
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

    def _own_projector(self) -> dict[str, Any]:
        """The row of the model's own projector beside those of the ones that were put in; it is aligned already."""
        tokens = len(self.view.encode(self.captions[0], instruction="").spans["image"])
        about = {"projector": OWN, "seed": self.spec.seed, "parameters": _learned(self.view), "tokens": tokens}
        return about | {"steps": 0, "loss": None}

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


def aligned(
    view: ModelView,
    projector: str,
    captions: Sequence[Example],
    spec: ProjectSpec,
    seed: int,
    features: Features | None = None,
) -> tuple[ModelView, dict[str, Any]]:
    """A copy of the model with a new projector that has learned to say captions, tower and decoder frozen.

    As LLaVA's first stage: rate 1e-3 (times the run's scale), 32 pictures a step. Without it, a new projector would be
    compared with one that has seen many pictures. What learns nothing is left as it is. `features`: the tower's, of the
    captions' pictures.
    """
    made = parse_projector(projector)
    model = copy.deepcopy(view.model)
    other = ModelView(model, swap_projector(model, view.processor, made, seed=seed), view.name)
    count = _learned(other)
    result = Tuned(0, (), 0.0, None)
    if count:
        setting = setting_of("ft-proj")
        rows = caption_rows(other, captions, features)
        trainable(other, setting)
        options = Options(steps=spec.align_steps, batch=32, scale=spec.scale, seed=seed, reused=features is not None)
        result = tune(other, rows, setting, options)
    tokens = len(other.encode(captions[0], instruction="").spans["image"])
    row = {
        "projector": projector,
        "seed": seed,
        "parameters": count,
        "tokens": tokens,
        "steps": result.steps,
        "loss": _late(result.losses),
    }
    return other, row


def _learned(view: ModelView) -> int:
    """How many parameters the projector has."""
    return sum(parameter.numel() for parameter in view.projector.parameters()) if view.projector is not None else 0


def projector_names(view: ModelView) -> set[str]:
    """The names of the projector's parameters."""
    return {name for name, part in parts_of(view).items() if part == "projector"}


def _late(losses: Sequence[float]) -> float | None:
    last = list(losses)[-max(1, len(losses) // 5) :]
    return sum(last) / len(last) if last else None


__all__ = ["Unit", "aligned", "run_project", "units"]
