"""One job of `chiasm project`: a model is tuned in one setting, asked, read, and put back as it was."""

import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final, final

from chiasm.core.example import Example, input_key
from chiasm.data.domains import Domain, parsed
from chiasm.data.scoring import correct
from chiasm.measures.base import RowsByTable
from chiasm.models.encoded import Encoded
from chiasm.models.generation import generate
from chiasm.models.likelihood import LabelScorer, LabelTokens, label_tokens
from chiasm.models.view import ModelView
from chiasm.runners.driver import Computed
from chiasm.studies.project.aligned import aligned, late_loss, own_projector
from chiasm.studies.project.inside import InsideStudy
from chiasm.studies.project.jobs import ProjectInputs, ProjectJob, tuned_settings
from chiasm.studies.project.prepared import EncodedRows, PreparedDomain, caption_items, features_of
from chiasm.studies.project.references import references
from chiasm.studies.project.richness import Richness
from chiasm.studies.project.scores import scores
from chiasm.studies.project.tables import OWN
from chiasm.tiny import NAMES as TINY
from chiasm.tiny import directory
from chiasm.training.features import TowerFeatures, frozen_tower, reusable
from chiasm.training.loop import TuningOptions, TuningResult, tune
from chiasm.training.parts import ParameterSnapshot, parts_of, trainable
from chiasm.training.settings import TuningSetting, setting_of

_MAX_TOKENS: Final = 32


@final
class ProjectWorker:
    """What does the jobs in one process, and what it keeps from one of them for the next."""

    def __init__(self, inputs: ProjectInputs, view: ModelView, scratch: Path) -> None:
        self.spec, self.domains, self.captions, self.scenes = inputs
        self.view, self.scratch = view, scratch
        # Of each the one that was used last.
        self._prepared: dict[tuple[str, int], PreparedDomain] = {}
        self._swapped: dict[tuple[str, int], ModelView] = {}
        self._scenes: dict[str, list[Encoded]] = {}
        self._caption_features: TowerFeatures | None = None
        self._richness = Richness(self.spec, scratch) if self.spec.trained_probes else None
        self._inside = InsideStudy(inputs) if self.spec.inside else None

    def compute(self, job: ProjectJob) -> Computed:
        """The rows of one job; the images behind them and those that failed are counted once per domain."""
        view, about_alignment = self._view_of(job)
        prepared = self._prepare(view, job)
        if job.setting is not None:
            return Computed(self._tuned(view, prepared, setting_of(job.setting), job) | about_alignment)
        contrastive = self.spec.contrastive
        checkpoint = directory(str(contrastive)) if contrastive in TINY else contrastive
        frames = {"references": references(prepared, list(self.spec.all_seeds), checkpoint)}
        if self.spec.projectors and job.domain == 0:
            frames["aligned"] = [own_projector(self.view, self.captions, self.spec.seed)]
        parts = (prepared.domain.train, prepared.domain.validation, prepared.domain.test)
        return Computed(frames, prepared.failures, kept=sum(map(len, parts)))

    def _tuned(self, view: ModelView, prepared: PreparedDomain, setting: TuningSetting, job: ProjectJob) -> RowsByTable:
        spec, seed = self.spec, job.seed
        assert spec.epochs is not None
        about = {"domain": prepared.domain.name, "setting": setting.name, "seed": seed, "projector": job.projector}
        pixels = "tower" in setting.parts
        reused = prepared.reused and not pixels
        result = TuningResult(0, (), 0.0, None)
        chosen, original = view, None
        read: RowsByTable = {}
        if setting.tunes:
            if self._richness is not None:
                self._richness.read_untuned(view, prepared, about)
            chosen = trainable(view, setting, seed)
            original = ParameterSnapshot(chosen)
        try:
            # Tuning too: broken off or failed, it must not leave a model that another run would take for untouched.
            if setting.tunes:
                rows = prepared.training(seed, plain=setting.plain, square=setting.square, pixels=pixels)
                options = TuningOptions(
                    epochs=spec.epochs,
                    batch=spec.batch_of(setting.name),
                    scale=spec.scale,
                    seed=seed,
                    bf16=spec.bf16,
                    checkpointing=spec.checkpointing,
                    from_features=reused,
                )
                result = tune(chosen, rows, setting, options)
            test = prepared.testing(seed, pixels=pixels, released_prompt=spec.released_prompt)
            found = answers(chosen, prepared.domain, test, self._labels(view, prepared), spec.batch, reused=reused)
            asked = scene_answers(chosen, self.scenes, self._encoded_scenes(view, job.projector), spec.batch)
            projector = {name for name, part in parts_of(chosen).items() if part == "projector"}
            drift = 0.0 if original is None else original.relative_change(only=projector)
            if self._richness is not None:
                read = self._richness.rows(chosen, prepared, setting, about)
            if self._inside is not None:
                read |= self._inside.rows(chosen, prepared.domain, about)
        finally:
            if original is not None:
                original.restore()
                if setting.rank:
                    wrapper: Any = chosen.model  # PEFT's, whose methods torch's types do not know
                    wrapper.unload()
        truth = [row["label"] for row in found]
        constrained = scores(truth, [row["constrained"] for row in found])
        row = about | {
            "epochs": spec.epochs if setting.tunes else 0.0,
            **scores(truth, [row["parsed"] for row in found]),
            "invalid_rate": sum(row["parsed"] is None for row in found) / len(found),
            "constrained_macro_f1": constrained["macro_f1"],
            "constrained_accuracy": constrained["accuracy"],
            "skill": sum(row["correct"] for row in asked) / len(asked) if asked else None,
            "skill_n": len(self.scenes),
            "steps": result.steps,
            "loss": late_loss(result.losses),
            "projector_drift": drift,
            "diverged": result.diverged,
        }
        scenes: RowsByTable = {"skills": [about | one for one in asked]} if asked else {}
        return {"tuning": [row], "predictions": [about | one for one in found], **scenes, **read}

    def _prepare(self, view: ModelView, job: ProjectJob) -> PreparedDomain:
        key = (job.projector, job.domain)
        if key not in self._prepared:
            where = Path(tempfile.mkdtemp(dir=self.scratch))
            self._prepared = {key: PreparedDomain(view, self.domains[job.domain], where)}
        return self._prepared[key]

    def _labels(self, view: ModelView, prepared: PreparedDomain) -> LabelTokens:
        """The tokens of the domain's classes."""
        first = prepared.domain.test[0]
        return label_tokens(view, Example(id=first.id, question="?", images=(first.image,)), prepared.domain.classes)

    def _encoded_scenes(self, view: ModelView, projector: str) -> list[Encoded]:
        if projector not in self._scenes:
            self._scenes = {projector: [view.encode(example) for example in self.scenes]}
        return self._scenes[projector]

    def _view_of(self, job: ProjectJob) -> tuple[ModelView, RowsByTable]:
        """The model, or a copy with another projector, aligned on captions under the job's seed; and the row of that.

        The row is recorded with one job: a run that goes on aligns again, and comes out the same.
        """
        if job.projector == OWN:
            return self.view, {}
        key, about_alignment = (job.projector, job.seed), {}
        if key not in self._swapped:
            self._prepared = {}
            if self._caption_features is None and reusable(self.view):
                # The tower stays as it is whatever stands behind it: every image goes through it once.
                path = self.scratch / "captions.npy"
                self._caption_features = features_of(self.view, caption_items(self.captions), path)
            view, row = aligned(self.view, job.projector, self.captions, self.spec, job.seed, self._caption_features)
            self._swapped = {key: view}
            if job.domain == 0 and job.setting == tuned_settings(self.spec)[0]:
                about_alignment = {"aligned": [row]}
        return self._swapped[key], about_alignment


def answers(
    view: ModelView, domain: Domain, rows: EncodedRows, labels: LabelTokens, batch_size: int, *, reused: bool
) -> list[dict[str, Any]]:
    """For every test image: label, generated text, the class it names, and the most probable of all labels."""
    found = []
    scorer = LabelScorer(view, labels)
    # A few tokens more than the longest label: enough to see that an answer says more than a label.
    max_tokens = min(_MAX_TOKENS, max(map(len, labels)) + 4)
    with frozen_tower(view) if reused else nullcontext():
        for start in range(0, len(rows), batch_size):
            items = domain.test[start : start + batch_size]
            batch = [rows[index] for index in range(start, start + len(items))]
            generated = generate(view, batch, max_tokens)
            best = scorer.scores(batch).argmax(-1).tolist()
            found += [
                {
                    "example_id": item.id,
                    "label": item.label,
                    "generated": answer.text,
                    "parsed": parsed(answer.text, domain.classes),
                    "constrained": domain.classes[place],
                }
                for item, answer, place in zip(items, generated, best, strict=True)
            ]
    return found


def scene_answers(
    view: ModelView, scenes: Sequence[Example], encoded: Sequence[Encoded], batch_size: int
) -> list[dict[str, Any]]:
    """Answers to questions that have nothing to do with the domain, and whether they are right."""
    found = []
    for start in range(0, len(scenes), batch_size):
        generated = generate(view, encoded[start : start + batch_size], 8)
        for answer, example in zip(generated, scenes[start : start + batch_size], strict=True):
            right = correct(answer.text, example.answer)
            shown = {"example_id": example.id, "input": input_key(example), "answer": example.answer}
            found.append(shown | {"generated": answer.text, "correct": right})
    return found
