"""The facade's `prune`: masks on weights, what they cost, and a pruned model for plain transformers."""

from collections.abc import Callable, Sequence
from pathlib import Path

from chiasm.api.shared import (
    Data,
    Model,
    data_name,
    data_of,
    finished,
    is_endless,
    limit_of,
    name_of,
    subject_of,
    twin_of,
)
from chiasm.core.errors import ChiasmError
from chiasm.core.example import DEFAULT_INSTRUCTION, Example
from chiasm.data import examples
from chiasm.data.sources import Split
from chiasm.interventions.masks import ABLATIONS, COMBINED, UNSTRUCTURED, MaskPart
from chiasm.models.pruning.linears import matrices
from chiasm.models.pruning.weights import export as export_checkpoint
from chiasm.results.rundir import RunDirectory
from chiasm.studies.common import data_facts
from chiasm.studies.prune.run import mask_of, run_prune
from chiasm.studies.prune.sets import gather, held_out, types_of
from chiasm.studies.prune.spec import BASELINES, PruneSpec, planned
from chiasm.studies.run import Run


def prune(
    model: Model,
    data: Data | None = None,
    *,
    sparsity: Sequence[float] = (),
    pattern: Sequence[str] = (UNSTRUCTURED,),
    part: Sequence[MaskPart] = ("all",),
    calibrate_on: Data | None = None,
    calibration: int = 128,
    tokens: int | None = None,
    combine: bool = True,
    ablate: float | None = None,
    controls: bool = True,
    twin: Model | None = None,
    export: str | Path | None = None,
    export_mask: str = "wanda",
    limit: int | None = None,
    split: Split = "heldout",
    media: str | Path | None = None,
    instruction: str = DEFAULT_INSTRUCTION,
    max_new_tokens: int | None = None,
    seed: int = 0,
    device: str | None = None,
    dtype: str | None = None,
    batch_size: int | None = None,
    memory: int | None = None,
    say: Callable[[str], None] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    fresh: bool = False,
) -> Run:
    """Zero the weights that count least and see what is lost: by method, sparsity, question type and modality.

    `model`: a view, or what `load` takes; its weights are as they were when this returns. `data`: the examples that
    are evaluated. `calibrate_on`: other examples; default: the other split of `scenes`, else a part of `data` that is
    kept out of the evaluation. `export`: a new folder for the model pruned by `export_mask` (`wanda`, `intersection`,
    ...), which plain transformers loads; it needs one sparsity or pattern, and one part. `memory`: bytes for hidden
    states of calibration examples. `say` is told what is about to be held. The remaining names are those of
    `PruneSpec` and of the command line.

    Sources: Sun et al. 2024 (Wanda, arXiv 2306.11695); Shukor & Cord 2024 (arXiv 2405.16700). The masks are those of
    the decoder's linear layers alone.
    """
    data = data_of(model, data)
    named = name_of(model)
    beside = twin_of(named, twin) if controls else None
    spec = PruneSpec(
        model=named,
        data=data_name(data),
        limit=limit_of(data, limit),
        split=split,
        sparsity=tuple(sparsity),
        pattern=tuple(pattern),
        part=tuple(part),
        calibrate_on=None if calibrate_on is None else data_name(calibrate_on),
        calibration=calibration,
        tokens=tokens,
        combine=combine,
        ablate=ablate,
        controls=controls,
        twin=None if beside is None else name_of(beside),
        instruction=instruction,
        max_new_tokens=max_new_tokens,
        seed=seed,
        unit=16 if batch_size is None else batch_size,
    )
    if export is not None:
        _require_exportable(spec, Path(export), export_mask)
    chosen, calibrating = _parted(spec, data, calibrate_on, media)
    subject = subject_of(model, beside, chosen, spec.data, seed=seed, device=device, dtype=dtype)
    view = subject.view
    for name in spec.part:
        matrices(view, name)  # before anything is computed: what cannot be pruned is refused
    calibrated = {"calibration": data_facts(spec.calibrate_on or spec.data, calibrating)}
    facts = subject.facts | {"data": subject.facts["data"] | calibrated}
    with RunDirectory.open(out, spec, resume=resume, fresh=fresh, facts=facts) as directory:
        if not directory.complete:
            run_prune(spec, view, calibrating, chosen, directory, subject.twin, memory, say)
    run = finished(directory, out)
    if export is not None:
        export_checkpoint(view, mask_of(spec, view, calibrating, chosen, export_mask, memory), export)
    return run


def _parted(
    spec: PruneSpec, data: Data, calibrate_on: Data | None, media: str | Path | None
) -> tuple[list[Example], list[Example]]:
    """Examples to evaluate and examples to calibrate on."""
    split: Split = "train" if spec.split == "train" else "heldout"
    source = data if calibrate_on is None and is_endless(data) else calibrate_on
    if source is None:
        every = list(examples(data, None, spec.seed, split, media))
        types = len({example.type for example in every})
        each = spec.calibration if spec.combine else -(-spec.calibration // types)
        calibrating, rest = held_out(every, each, spec.seed)
        return rest[: spec.limit], calibrating
    chosen = list(examples(data, spec.limit, spec.seed, split, media))
    other: Split = "train" if split == "heldout" else "heldout"
    types = types_of(chosen) if spec.combine else ()
    return chosen, gather(examples(source, None, spec.seed, other, media), types, spec.calibration)


def _require_exportable(spec: PruneSpec, folder: Path, mask: str) -> None:
    """Told before the run, not behind it."""
    asked = f"export to `{folder}`"
    if len(spec.levels()) > 1 or len(spec.part) > 1:
        found = f"the run has {len(spec.levels())} sparsities and {len(spec.part)} parts"
        raise ChiasmError(asked, found, "Name one, as --sparsity 0.5")
    # Two types of any name: how many there are does not change which masks combine them.
    made = {one.spec.method for one in planned(spec, ("one", "other")) if one.spec is not None}
    if mask not in made - set(ABLATIONS):
        left_out = "combinations" if mask in COMBINED else "controls" if mask in BASELINES else "such masks"
        found = f"this run makes no `{mask}`: it has no {left_out} ({', '.join(sorted(made - set(ABLATIONS)))})"
        raise ChiasmError(asked, found, "Name one of those, or let the run make it")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ChiasmError(asked, "it is there already and not empty", "Choose another folder")
