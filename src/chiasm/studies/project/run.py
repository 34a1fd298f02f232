"""Does the projector learn to see? A model is adapted to domains in several ways, and asked before and after.

Source: Verma et al. 2024, "Cross-Modal Projection in Multimodal LLMs Doesn't Really Project Visual Attributes to
Textual Space" (ACL short, arXiv 2402.16832).
"""

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.core.example import Example, require_usable
from chiasm.data import examples
from chiasm.data.domains import Domain, domain
from chiasm.data.layouts import DESCRIBE
from chiasm.models.view import ModelView
from chiasm.results import images
from chiasm.results.rundir import RunDirectory
from chiasm.runners.driver import KeyedJob, drive, one_by_one
from chiasm.studies.inputs import data_facts, facts_of, view_of
from chiasm.studies.options import data_name
from chiasm.studies.project import STUDY
from chiasm.studies.project.inside import InsideStudy
from chiasm.studies.project.jobs import ProjectInputs, description, jobs_of, shared_by
from chiasm.studies.project.spec import ProjectSpec
from chiasm.studies.project.worker import ProjectWorker
from chiasm.tiny import NAMES as TINY

_CAPTIONS: Final = 960
_SMALL_EPOCHS: Final = 3.0
_SMALL_BATCH: Final = 4  # few images, and words never used before: enough steps to learn them
_SMALL_TOWER: Final = "tiny@tower"


def compute(spec: ProjectSpec) -> RunDirectory:
    """The run of `spec`: what its directory already holds is not computed again. The model is left as it was.

    **Errors:** `ChiasmError` for a domain that cannot be read, a model without a projector, ...
    """
    domains = [
        domain(source, topic=spec.topic, seed=spec.seed, limit=spec.limit, allow_outside=spec.allow_outside)
        for source in spec.sources
    ]
    names = [one.name for one in domains]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ChiasmError("compare domains", f"two are called {', '.join(repeated)}", "Rename one of the folders")
    # What is trained computes as it is served, and what it learnt is asked for in the same way.
    view = view_of(spec.model, spec).as_served()
    captions = _captions(spec) if spec.projectors else []
    scenes = list(examples("scenes", spec.skill, spec.seed)) if spec.skill else []
    spec = _completed(spec, view)
    facts = facts_of(view, _questions(domains), ", ".join(spec.sources), spec.seed)
    facts["data"] |= {"domains": {one.name: _described(one) for one in domains}, "units": len(jobs_of(spec))}
    facts["data"]["captions"] = data_facts(data_name(spec.captions) or "", captions)
    inputs = ProjectInputs(spec, domains, captions, scenes)
    return STUDY.completed(spec, facts, lambda directory: _fill(directory, inputs, view))


def count_images(spec: ProjectSpec) -> int:
    """How many images the largest part of the domains has, within --limit."""
    found = [domain(source, topic=spec.topic, seed=spec.seed, limit=spec.limit) for source in spec.sources]
    return max(len(part) for one in found for part in (one.train, one.validation, one.test))


def _fill(directory: RunDirectory, inputs: ProjectInputs, view: ModelView) -> None:
    """Write the tables of a run. The model is changed while a setting is trained, and put back behind it."""
    spec = inputs.spec
    jobs = [
        KeyedJob(key, job, name=description(job, inputs.domains), group=shared_by(job))
        for key, job in enumerate(jobs_of(spec))
    ]
    with tempfile.TemporaryDirectory(prefix="chiasm-project-") as scratch:
        work = ProjectWorker(inputs, view, Path(scratch))
        drive(jobs, one_by_one(lambda job, tracker: work.compute(job)), directory, "project", noun="settings")
    directory.take_turn()
    if spec.inside:
        InsideStudy(inputs).keep_images(view, directory)
    shown = [
        Example(id=f"{domain.name}/{item.id}", question="?", images=(item.image,), within=item.within)
        for domain in inputs.domains
        for item in domain.test
    ]
    images.keep_thumbnails(directory, shown)
    directory.finish()


def _completed(spec: ProjectSpec, view: ModelView) -> ProjectSpec:
    """What was left open, filled in; what is in memory goes by its name from here on."""
    small = view.name in TINY
    return spec.complete(
        model=view.name,
        captions=data_name(spec.captions),
        epochs=(_SMALL_EPOCHS if small else 1.0) if spec.epochs is None else spec.epochs,
        train_batch=(_SMALL_BATCH if small else 32) if spec.train_batch is None else spec.train_batch,
        contrastive=_SMALL_TOWER if small and spec.contrastive is None else spec.contrastive,
        batch_size=spec.batch,
    )


def _captions(spec: ProjectSpec) -> list[Example]:
    found = examples(spec.captions, _CAPTIONS, spec.seed, "train", task="caption", allow_outside=spec.allow_outside)
    usable = []
    for example in found:
        # Captions that cannot be used are no example of this run; the others are enough to align on.
        with suppress(ExampleError):
            require_usable(example)
            usable.append(replace(example, question=DESCRIBE["image"], answer=example.captions[0]))
    return usable


def _questions(domains: Sequence[Domain]) -> list[Example]:
    return [
        Example(
            id=f"{one.name}/{item.id}",
            question=one.topic,
            images=(item.image,),
            answer=item.label,
            options=one.classes,
        )
        for one in domains
        for part in (one.train, one.validation, one.test)
        for item in part
    ]


def _described(one: Domain) -> dict[str, Any]:
    sizes = {"train": len(one.train), "validation": len(one.validation), "test": len(one.test)}
    return {"classes": len(one.classes), **sizes, "notes": list(one.notes)}
