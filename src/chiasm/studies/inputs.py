"""From a spec to what a study computes on: examples, models, and what the manifest says of both."""

import copy
import difflib
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, final

import torch
from PIL import Image
from torch import nn

from chiasm import smollm2
from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.core.example import Example, input_key, require_usable
from chiasm.core.media import load_image
from chiasm.core.statistics.jackknife import priority
from chiasm.data import examples, sequence
from chiasm.data.fingerprint import fingerprint
from chiasm.data.sequences import Selected, all_without_media
from chiasm.data.sources import ENDLESS
from chiasm.data.tasks import Task
from chiasm.models.checkpoint.adapters import AdapterUse
from chiasm.models.description import describe
from chiasm.models.encoding.encode import only_this_example
from chiasm.models.executors.jobs import Executor
from chiasm.models.executors.lockstep import LockstepExecutor
from chiasm.models.executors.reference import ReferenceExecutor
from chiasm.models.executors.rounding import with_tf32
from chiasm.models.families import Family
from chiasm.models.loading import load as load_checkpoint
from chiasm.models.loading import wrap
from chiasm.models.precision import dtype_name
from chiasm.models.redraw import redrawn
from chiasm.models.room import examples_at_once
from chiasm.models.shown import offer_views
from chiasm.models.skipping.plans import log_stored_plan
from chiasm.models.view import ModelView
from chiasm.results import images
from chiasm.results import manifest as manifests
from chiasm.results.rundir import RunDirectory
from chiasm.studies.names import require_model
from chiasm.studies.options import (
    RANDOM_BASELINE,
    ControlledSpec,
    Data,
    ExecutorName,
    LoadingOptions,
    Model,
    ModelSpec,
    ReadingOptions,
    StudySpec,
    data_name,
    model_name,
)
from chiasm.tiny import NAMES as TINY
from chiasm.tiny import directory
from chiasm.tiny.registry import baseline as own_baseline
from chiasm.tiny.registry import untrained, world

S = TypeVar("S", bound=ModelSpec)
P = TypeVar("P")

SCENES = 240
"""Examples taken from `scenes` and its kin, which have no end, where no limit is given."""
_log = logging.getLogger("chiasm")


def load(
    source: str | Path | None = None,
    *,
    model: nn.Module | None = None,
    processor: Any = None,
    dtype: str | torch.dtype | None = None,
    device: str | torch.device | None = None,
    trust_remote_code: bool = False,
    revision: str | None = None,
    adapter: AdapterUse | None = None,
) -> ModelView:
    """A model for studies: `tiny`, a hub id, a directory of `save_pretrained`, or what is already in memory.

    `model` and `processor` may be fine-tuned or wrapped by PEFT; they are used as they are. `dtype`: None keeps the
    checkpoint's weights and computes in float32 at least; a half-precision type computes as the model is served.
    `device`: None takes the first GPU, or the CPU. `adapter`: what to do with one that lies beside a full model,
    `apply` or `ignore`. What was loaded is reported in one line.

    **Errors:** `ChiasmError` that says what was found and what to do.
    """
    if model is not None:
        if source is not None:
            raise ChiasmError("load a model", "both a source and a model were given", "Give one of them")
        return _reported(wrap(model, processor, dtype=dtype))
    if source is None:
        raise ChiasmError("load a model", "none was named", "Name `tiny`, a hub id, a directory, or pass model=")
    name = str(source)
    known = name in TINY or name in smollm2.NAMES
    if not known:
        require_model(name)
    where = _embedded(name) if known else source
    view = load_checkpoint(
        where,
        dtype=dtype,
        device=device,
        trust_remote_code=trust_remote_code,
        revision=revision,
        adapter=adapter,
    )
    view.name = name
    log_stored_plan(where)
    return _reported(view)


def view_of(model: Any, spec: LoadingOptions) -> ModelView:
    """A view as it is, a name loaded where and how `spec` says."""
    if isinstance(model, ModelView):
        return model
    return load(
        model,
        device=spec.device,
        dtype=spec.dtype,
        trust_remote_code=spec.trust_remote_code,
        adapter=spec.adapter,
    )


def with_defaults(spec: S) -> S:
    """`spec` with what was left open filled in: the model's own world, a limit, its baseline, the batch size."""
    name = model_name(spec.model) or ""
    data: Data = world(name) if spec.data is None else spec.data
    filled: dict[str, Any] = {"data": data, "limit": limit_of(data, spec.limit), "batch_size": spec.batch}
    if isinstance(spec, ControlledSpec):
        filled["baseline"] = baseline_of(name, spec.baseline) if spec.controls else None
    return spec.complete(**filled)


def limit_of(data: Data, limit: int | None, most: int = SCENES) -> int | None:
    """The limit; data without an end have one also where none is given, which is logged."""
    if limit is not None or not is_endless(data):
        return limit
    _log.warning("The data `%s` have no end: the first %d examples are taken, as no limit was given.", data, most)
    return most


def count_examples(spec: ModelSpec) -> int:
    """How many examples a run of `spec` is about; its data are read for it, pictures are not.

    **Errors:** as `read_examples`.
    """
    data: Data = world(model_name(spec.model) or "") if spec.data is None else spec.data
    if spec.ids:
        return len(read_examples(spec, data))
    return count_of(spec, data, limit_of(data, spec.limit))


def count_of(spec: ReadingOptions, data: Data, limit: int | None) -> int:
    """How many of the first `limit` examples there are."""
    if limit is not None and is_endless(data):
        return limit
    return sum(1 for _ in examples(data, limit, spec.seed, spec.split, spec.media))


def is_endless(data: Data | None) -> bool:
    """Whether the data have no end, as `scenes`."""
    return isinstance(data, str) and data in ENDLESS


def baseline_of(model: str, baseline: Model | None) -> Model | None:
    """The control with random weights: the given one, or on the embedded models their own."""
    if baseline is None and model in smollm2.NAMES:
        return RANDOM_BASELINE
    if baseline is not None or model not in TINY:
        return baseline
    # Beside a model that is random itself stand others that are.
    return RANDOM_BASELINE if untrained(model) else own_baseline(model)


def read_examples(spec: ReadingOptions, data: Data, task: Task = "qa") -> Sequence[Example]:
    """The examples that `spec` asks for; those of files, and drawn ones, are not held in memory.

    **Errors:** `ChiasmError` for an id that none of them has.
    """
    found = sequence(data, spec.limit, spec.seed, spec.split, spec.media, task, spec.allow_outside)
    if not spec.ids:
        return found
    known = {example.id: place for place, example in enumerate(all_without_media(found))}
    for wanted in spec.ids:
        if wanted not in known:
            near = difflib.get_close_matches(wanted, known, n=1)
            todo = f"Did you mean {near[0]}?" if near else "Name one of those, or raise --limit"
            among = (
                f"none of the {len(found)} examples has it; the first is {found[0].id}" if found else "there are none"
            )
            raise ChiasmError(f"--id {wanted}", among, todo)
    return Selected(found, [known[name] for name in dict.fromkeys(spec.ids)])


_FIRST_DRAW = 7001
_GREY = (128, 128, 128)
_RANDOM_BYTES = 2 << 30
_TRIED = 8


@final
@dataclass(frozen=True, slots=True)
class Inputs:
    """A loaded model, its control of the same shape with random weights, examples, and what the manifest says."""

    view: ModelView
    baseline: ModelView | None
    examples: Sequence[Example]
    facts: dict[str, Any]


def load_inputs(spec: ModelSpec, chosen: Sequence[Example]) -> Inputs:
    """The models that `spec` names, beside the `chosen` examples."""
    view, tf32 = _with_fast_products(view_of(spec.model, spec), chosen)
    facts = facts_of(view, chosen, data_name(spec.data) or "", spec.seed) | tf32
    baseline = None
    if isinstance(spec, ControlledSpec) and spec.baseline is not None:
        # A seed that no user's own draw of a model is likely to have.
        drawn = spec.baseline == RANDOM_BASELINE
        baseline = redrawn(view, _FIRST_DRAW) if drawn else view_of(spec.baseline, spec)
        facts["baseline"] = {"id": baseline.name, "weights": baseline.fingerprint()}
    return Inputs(view, baseline, chosen, facts)


def sized(spec: S, asked: StudySpec, inputs: Inputs) -> S:
    """`spec` with as many examples at once as there is room for, where `asked` leaves that to us: by the sizes of the
    model and the first example, and the free memory; at most what the study takes by default, and one of a model that
    takes no batch.

    A run that is taken up or shared keeps the number that it was begun with: rows can differ in their last bits with
    another.
    """
    if isinstance(asked.batch_size, int):
        return spec
    begun = manifests.read(Path(asked.out)) if asked.resume and asked.out is not None else None
    known = None if begun is None else begun["spec"].get("batch_size")
    if isinstance(known, int):
        return spec.complete(batch_size=known)
    view = inputs.view
    prompt = first_prepared(inputs.examples, lambda index, example: view.encode(example, instruction=spec.instruction))
    if prompt is None:
        return spec
    most = spec.batch
    if not _go_together(view, inputs.examples[:most], spec.instruction):
        _log.info("Examples are computed one by one: the first ones cannot go into one batch of this model.")
        return spec.complete(batch_size=1)
    count = examples_at_once(view, prompt.length, most)
    if count < most:
        _log.info("%d examples are computed at once: free memory has no room for %d (--batch-size).", count, most)
    return spec.complete(batch_size=count)


def _go_together(view: ModelView, chosen: Sequence[Example], instruction: str) -> bool:
    """Whether the first examples come out of one batch as they would alone."""
    if type(view.family).can_batch is Family.can_batch:
        return True
    prompts = [
        first_prepared([one], lambda index, example: view.encode(example, instruction=instruction)) for one in chosen
    ]
    return view.family.can_batch([prompt for prompt in prompts if prompt is not None], view.config)


def _with_fast_products(view: ModelView, chosen: Sequence[Example]) -> tuple[ModelView, dict[str, Any]]:
    """With TF32 products on a GPU where raised weights meet them and the first example shows that they are accurate."""
    if view.device.type != "cuda" or not view.precision.raised or view.precision.tf32:
        return view, {}
    prompt = first_prepared(chosen, lambda index, example: view.encode(example))
    if prompt is None:
        return view, {}
    view, off = with_tf32(view, prompt.inputs)
    return view, {"tf32": {"used": view.precision.tf32, **off._asdict()}}


def first_prepared(chosen: Sequence[Example], prepare: Callable[[int, Example], P]) -> P | None:
    """The first example that can be prepared, to measure or to price by; None if none of the first few can."""
    for index, example in enumerate(chosen[:_TRIED]):
        with suppress(ExampleError), only_this_example():
            return prepare(index, example)
    return None


def random_models(baseline: ModelView, named: Model | None, count: int) -> list[ModelView]:
    """The models with random weights that the examples are shared among: `baseline`, and more drawn like it.

    Several show how far such models differ. Only what is known to be random is drawn again: `--baseline random`, and
    the embedded ones. Fewer where `count` of them would not fit beside each other in 2 GiB.
    """
    if not (isinstance(named, str) and (named == RANDOM_BASELINE or (named in TINY and untrained(named)))):
        return [baseline]
    size = sum(tensor.nbytes for tensor in baseline.model.state_dict().values())
    chosen = max(1, min(count, _RANDOM_BYTES // max(1, size)))
    if chosen < count:
        found = "one model with random weights" if chosen == 1 else f"{chosen} models with random weights"
        _log.warning("%s in place of %d: more would take over 2 GiB.", found.capitalize(), count)
    return [baseline, *(redrawn(baseline, _FIRST_DRAW + number) for number in range(1, chosen))]


def model_of(example_id: str, seed: int, models: int) -> int:
    """Which of several models with random weights an example is given to; other examples change nothing about it."""
    return priority(example_id, seed) % models


def require_same_depth(view: ModelView, baseline: ModelView | None) -> None:
    """**Errors:** `ChiasmError` for a baseline whose layers cannot stand beside those of the model."""
    if baseline is not None and baseline.n_layers != view.n_layers:
        found = f"it has {baseline.n_layers} layers and {view.name} has {view.n_layers}"
        raise ChiasmError(
            f"{baseline.name} as the baseline", found, "Name a model of the same shape with random weights"
        )


def facts_of(view: ModelView, chosen: Sequence[Example], data: str, seed: int) -> dict[str, Any]:
    """What the manifest says about model and data, with hashes: a resumed run must have the same."""
    return {
        "model": {"id": view.name, "weights": view.fingerprint()},
        "loaded": describe(view).facts(),
        "data": data_facts(data, chosen),
        "seed": seed,
        "device": str(view.device),
        "dtype": dtype_name(view.precision.weights),
        "precision": str(view.precision),
        "asked": len(chosen),
    }


def data_facts(name: str, chosen: Sequence[Example]) -> dict[str, Any]:
    """The name and the number of the examples, and digests of all that they hold: a resumed run must have the same."""
    return {"name": name, **fingerprint(chosen)}


def executor_of(name: ExecutorName, memory: int | str | None, batch_size: int) -> Executor:
    """The executor called `name`. `memory`: bytes above the clean pass that lockstep may use (None: no bound)."""
    if name == "reference":
        return ReferenceExecutor(reuse_vision=True)
    return LockstepExecutor(memory=None if memory is None else int(memory), batch_size=batch_size)


def for_preparing(view: ModelView) -> ModelView:
    """The same model with a processor of its own: tokenizers may not be used by two threads at once."""
    other = copy.copy(view)
    other.processor = copy.deepcopy(view.processor)
    return other


def blanked(example: Example) -> Example:
    """The example with mid-grey in place of every image; sizes stay, so the tokens are as many.

    **Errors:** `ExampleError` for an image that cannot be read, or an example that shows or plays something else.
    """
    require_usable(example)
    if example.videos or example.audios:
        raise ExampleError("only images can be blanked")
    sizes = [load_image(image).size for image in example.images]
    return replace(example, images=tuple(Image.new("RGB", size, _GREY) for size in sizes))


def example_row(example: Example) -> dict[str, str]:
    """The row of the table `examples`, which says who asks about the same input."""
    return {
        "example_id": example.id,
        "type": example.type,
        "question": example.question,
        "answer": example.answer,
        "input": input_key(example),
    }


def keep_thumbnails(directory: RunDirectory, examples: Sequence[Example]) -> None:
    """Keep small pictures of the examples that a run used, for its page.

    **Errors:** `FullDiskError`.
    """
    used = set(directory.table("examples")["example_id"]) if "examples" in directory.tables() else set()
    images.keep_thumbnails(directory, (example for example in examples if example.id in used))


def _reported(view: ModelView) -> ModelView:
    offer_views()
    _log.info("Loaded %s: %s.", view.name, describe(view))
    return view


def _embedded(name: str) -> Path:
    if name in smollm2.NAMES:
        return smollm2.directory(name)
    try:
        return directory(name)
    except ValueError as error:
        raise ChiasmError(f"load the model `{name}`", str(error), "Name one of those") from error
