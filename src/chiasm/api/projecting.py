"""The facade's `project`."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from chiasm.api.shared import Data, Model, finished, name_of, subject_of
from chiasm.core.errors import ChiasmError
from chiasm.core.example import Example
from chiasm.data import examples
from chiasm.data.domains import Domain, domain
from chiasm.data.layouts import DESCRIBE
from chiasm.measures.probes.kinds import PROBES
from chiasm.models.loading import load
from chiasm.models.view import ModelView
from chiasm.results.rundir import RunDirectory
from chiasm.studies.project.run import Copies, run_project, units
from chiasm.studies.project.spec import DEFAULT_SETTINGS, ProjectSpec
from chiasm.studies.run import Run
from chiasm.tiny import NAMES as TINY
from chiasm.tiny import directory as embedded

_CAPTIONS = 960
_SMALL_EPOCHS = 3.0
_MOST_WORKERS = 6  # two domains x three seeds


def project(
    model: Model,
    domains: str | Path | Sequence[str | Path] = ("surfaces", "leaves"),
    *,
    settings: Sequence[str] = DEFAULT_SETTINGS,
    seeds: int = 3,
    epochs: float | None = None,
    train_batch: int | None = None,
    scale: float | None = None,
    projectors: Sequence[str] = (),
    align_steps: int = 200,
    captions: Data = "scenes",
    skill: int = 60,
    contrastive: str | Path | None = None,
    topic: str | None = None,
    output: bool = False,
    probes: Sequence[str] = PROBES,
    controls: bool = True,
    inside: int = 0,
    limit: int | None = None,
    bf16: bool = False,
    checkpointing: bool = False,
    seed: int = 0,
    device: str | None = None,
    dtype: str | None = None,
    batch_size: int | None = None,
    workers: int | None = 1,
    say: Callable[[str], None] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    fresh: bool = False,
) -> Run:
    """Adapt the model to domains in several ways, and find out what tuning bought.

    `domains`: `surfaces`, `leaves`, or folders and files of one's own (docs/project.md). `settings`: out of zero-shot,
    ft-proj, ft-proj-released, ft-proj-lowlr, ft-e2e, ft-lora, ft-tower. `projectors`: others to put in, such as
    `perceiver:tokens=16`, each aligned on `captions` before it is tuned. `contrastive`: the CLIP model whose tower this
    is. `probes`: out of linear, mlp-paper, mlp-code, trained on the model's states in every setting; none leaves
    them out. `workers`: processes that share the work, for an embedded model on a CPU (None: one per core); a script
    that asks for several needs `if __name__ == "__main__":`. The remaining names are those of `ProjectSpec` and of the
    command line. The model is as it was afterwards.

    Source: Verma et al. 2024 (arXiv 2402.16832).

    **Errors:** `ChiasmError` for a domain that cannot be read, a model without a projector, ...
    """
    sources = [domains] if isinstance(domains, str | Path) else list(domains)
    named = name_of(model)
    small = named in TINY
    beside = embedded("tiny@tower") if contrastive is None and small else contrastive
    spec = ProjectSpec(
        model=named,
        data=", ".join(str(source) for source in sources),
        domains=tuple(str(source) for source in sources),
        settings=tuple(settings),
        seeds=seeds,
        seed=seed,
        epochs=(_SMALL_EPOCHS if small else 1.0) if epochs is None else epochs,
        # Few pictures, and words never said before: enough steps to learn to say them.
        train_batch=(4 if small else 32) if train_batch is None else train_batch,
        scale=scale,
        projectors=tuple(projectors),
        align_steps=align_steps,
        skill=skill,
        contrastive="tiny@tower" if contrastive is None and small else None if beside is None else str(beside),
        topic=topic,
        output=output,
        probes=tuple(probes),
        controls=controls,
        inside=inside,
        limit=limit,
        bf16=bf16,
        checkpointing=checkpointing,
        unit=24 if batch_size is None else batch_size,
    )
    read = [domain(source, topic=topic, seed=seed, limit=limit) for source in sources]
    repeated = {one.name for one in read if [other.name for other in read].count(one.name) > 1}
    if repeated:
        raise ChiasmError("compare domains", f"two are called {', '.join(repeated)}", "Rename one of the folders")
    spec = replace(spec, domains=tuple(one.name for one in read))
    subject = subject_of(model, None, _asked(read), spec.data, seed=seed, device=device, dtype=dtype)
    subject.facts["data"] |= _told(read, spec)
    scenes = list(examples("scenes", skill, seed)) if skill else []
    told = list(_captions(captions, seed)) if projectors else []
    copies = _copies(workers, named, subject.view)
    with RunDirectory.open(out, spec, resume=resume, fresh=fresh, facts=subject.facts) as directory:
        if not directory.complete:
            run_project(spec, subject.view, read, told, scenes, directory, beside, say, copies)
    return finished(directory, out)


def _copies(workers: int | None, named: str, view: ModelView) -> Copies | None:
    alone = named not in TINY or view.device.type != "cpu"
    if workers == 1 or (workers is None and alone):
        return None
    if alone:
        found = f"{named} on {view.device.type} has room for one"
        raise ChiasmError(f"share the work among {workers} processes", found, "Leave --workers out")
    if workers is not None and workers < 1:
        raise ChiasmError(f"--workers {workers}", "the least is 1", "Give a larger number")
    return Copies(workers or min(_MOST_WORKERS, os.cpu_count() or 1), partial(load, embedded(named), dtype=view.dtype))


def _captions(source: Data, seed: int) -> list[Example]:
    found = examples(source, _CAPTIONS, seed, "train", task="caption")
    return [replace(example, question=DESCRIBE["image"], answer=example.captions[0]) for example in found]


def _asked(domains: Sequence[Domain]) -> list[Example]:
    return [
        Example(id=f"{one.name}/{item.id}", question=one.topic, answer=item.label, options=one.classes)
        for one in domains
        for part in (one.train, one.validation, one.test)
        for item in part
    ]


def _told(domains: Sequence[Domain], spec: ProjectSpec) -> dict[str, object]:
    return {
        "domains": {
            one.name: {
                "classes": len(one.classes),
                "train": len(one.train),
                "validation": len(one.validation),
                "test": len(one.test),
                "notes": list(one.notes),
            }
            for one in domains
        },
        "units": len(units(spec)),
    }
