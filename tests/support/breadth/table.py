"""Writes what became of every mapped type: `make types`, or with names for some types only.

Each type has a process of its own, so that none can take the others with it; `--processes N` of them at a time.
`--pictures N`: how many pictures of odd sizes are painted for each type that claims places; `--seconds S`: no more of
them after S seconds. `--paint`: nothing but the pictures, of the types that the table says claim places. `--kinds`:
nothing but the kinds of input besides the first, of the types that the table says are accepted.
"""

import json
import math
import os
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
import transformers
from PIL import Image
from tests.support.breadth.configurations import default_configuration
from tests.support.breadth.factory import Made, first_forward, make
from tests.support.breadth.independent import cut_logprobs
from tests.support.breadth.processors import UnmadeError, processor_class
from tests.support.breadth.wanted import UNTRIED, WANTED, lacking
from tests.support.float64 import no_upcasts
from transformers import PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.interventions import AttentionKnockout, Variant, centred
from chiasm.models.adopting.adoption import FURTHER, found_inputs, tried, with_right_kinds
from chiasm.models.adopting.decoder import followed
from chiasm.models.adopting.geometry import tokens_per_tile
from chiasm.models.adopting.inputs import Candidate, joined
from chiasm.models.adopting.refusals import UnansweredError, require_answerable, require_questions
from chiasm.models.conformance.painting import Painter, layout_of, patches_alone
from chiasm.models.conformance.trial import (
    forward_cuts,
    full_logprobs,
    job_of,
    noise,
    noise_example,
    run_packed,
    run_plain,
)
from chiasm.models.generic.places import UNKNOWN
from chiasm.models.mapped import FILE, listed_types, write
from chiasm.models.view import ModelView

PROCESSED: Final = frozenset(PROCESSOR_MAPPING_NAMES)
MAPPED: Final = tuple(MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES)
_PERCEIVING: Final = frozenset({"image_processor", "video_processor", "feature_extractor", "audio_processor"})
ROUNDED: Final = 1e-4
"""The largest difference in float32 that is not looked at again."""
_SECONDS: Final = 900
_NOTHING: Final[dict[str, Any]] = {
    "status": "untried",
    "capabilities": {},
    "reason": "",
    "how": "",
    "takes": [],
    "places": "",
    "values": None,
    "exact": None,
    "pictures": 0,
    "found": None,
}


_Again = Callable[[str, Mapping[str, Any], "Painting"], dict[str, Any]]


class Painting(NamedTuple):
    """How many pictures are painted for a type, and for how long at the most."""

    pictures: int
    seconds: float = math.inf


def entry(model_type: str, painting: Painting) -> dict[str, Any]:
    """What the table says of a type."""
    if lacking(model_type):
        return _NOTHING | {"reason": f"it needs the package `{lacking(model_type)}`, which was not installed"}
    if model_type in UNTRIED:
        return _NOTHING | {"reason": UNTRIED[model_type]}
    try:
        config = default_configuration(model_type)
        require_answerable(config)
    except ChiasmError as error:
        return _refused("configuration", _why(error, model_type))
    except Exception:
        config = None  # what else a configuration wants is the business of who makes the model
    if config is not None and not _perceives(config):
        return _refused("configuration", "it perceives nothing: its configuration has no part for it")
    try:
        kind = processor_class(model_type, WANTED.get(model_type, {}).get("processor"))
        if not set(kind.get_attributes()) & _PERCEIVING:
            return _refused("processor", "its processor has no part for images, videos or sounds")
        require_questions(kind, default_configuration(model_type))
        made = make(model_type)
    except ChiasmError as error:
        return _refused("processor", _why(error, model_type))
    except UnmadeError as error:
        return _NOTHING | {"reason": str(error)}
    except Exception as error:
        return _NOTHING | {"reason": f"no small model of it is made by rule ({_line(error)})"}
    return _tried(made, model_type, painting)


def _refused(how: str, why: str) -> dict[str, Any]:
    return _NOTHING | {"status": "refused", "how": how, "reason": why}


def repainted(model_type: str, row: Mapping[str, Any], painting: Painting) -> dict[str, Any]:
    """`row` of a type that claims places, with what further pictures show of them."""
    made = make(model_type)
    candidate = Candidate(made.model, made.processor, model_type, None)
    rules = followed(candidate, found_inputs(candidate))
    rules = replace(rules, places=row["places"], per_tile=tokens_per_tile(candidate, rules))
    pictures, found = painted(candidate.view(rules), painting)
    return dict(row) | {"pictures": pictures, "found": found}


def with_new_kinds(model_type: str, row: Mapping[str, Any], painting: Painting) -> dict[str, Any]:
    """`row` of an accepted type, with what is found now of the kinds of input besides its first."""
    made = make(model_type)
    candidate = Candidate(made.model, made.processor, model_type, None)
    rules = joined(candidate, followed(candidate, found_inputs(candidate)))
    batches = not row["capabilities"]["padded batches"].startswith("no: ")
    found = with_right_kinds(candidate, replace(rules, batches=batches))
    return dict(row) | {
        "takes": list(found.rules.modalities),
        "capabilities": {name: why for name, why in row["capabilities"].items() if not name.startswith(FURTHER)}
        | {name: why for name, why in found.capabilities().items() if name.startswith(FURTHER)},
    }


def _tried(made: Made, model_type: str, painting: Painting) -> dict[str, Any]:
    candidate = Candidate(made.model, made.processor, model_type, None)
    try:
        found = tried(candidate)
    except UnansweredError as error:
        try:
            first_forward(made)
        except Exception as own:
            if error.foreign:
                # The small model answers no input at all, so that nothing is known of the published ones.
                return _NOTHING | {"reason": f"no small model of it is made by rule ({_line(own)})"}
        return _refused("trial", str(error))
    view = candidate.view(found.rules)
    row = _NOTHING | {"status": "accepted", "how": "trial", "takes": list(found.rules.modalities)}
    row |= {"places": found.rules.places, "capabilities": found.capabilities()}
    row["values"] = largest_difference(view)
    if (row["values"] or 0.0) > ROUNDED:
        # Is it rounding? In float64 throughout nothing of it is left.
        with no_upcasts(torch.float64):
            exact = candidate._replace(model=made.model.double())
            exact.model.set_experts_implementation("eager")  # the default kernel knows no float64
            row["exact"] = largest_difference(exact.view(found.rules))
            made.model.float()
    if found.rules.places != UNKNOWN:
        row["pictures"], row["found"] = painted(view, painting)
    return row


def _perceives(config: PreTrainedConfig) -> bool:
    """Whether a type is filed as multimodal for what it perceives: a decoder alone may be mapped too."""
    names = [name for name, value in config.to_dict().items() if isinstance(value, dict)]
    return any(isinstance(getattr(config, name), PreTrainedConfig) for name in names) or config.model_type in PROCESSED


def largest_difference(view: ModelView) -> float:
    """Between the engine's cuts and the same by masks of the test's own, over the whole vocabulary."""
    kind = view.family.modalities and next(k for k in ("image", "video", "audio") if k in view.family.modalities)
    encoded = view.encode(noise_example(kind, (noise(kind, 0),)))
    windows = (centred(view.n_layers, 1)[0], centred(view.n_layers, 3)[view.n_layers // 2])
    cuts = [AttentionKnockout.parse(text) for text in forward_cuts(kind)]
    present = [cut for cut in cuts if all(len(encoded.spans[side]) for side in cut.text.split("->"))]
    changes = [(window, cut.on(encoded.spans, window)) for window in windows for cut in present]
    variants = [Variant(f"{number}", (change,)) for number, (_, change) in enumerate(changes)]
    # By one masked forward for each cut where the walk of all is refused.
    run = run_packed if view.family.can("one walk") else run_plain
    packed = full_logprobs(run(view, [job_of(encoded, *variants)])[0])
    worst = float((packed[0, -1].double() - cut_logprobs(view, encoded, (), (), ())).abs().max())
    for number, (window, change) in enumerate(changes):
        layers = range(window.start, window.stop)
        own = cut_logprobs(view, encoded, layers, change.queries, change.keys)
        worst = max(worst, float((packed[number + 1, -1].double() - own).abs().max()))
    return worst


def painted(view: ModelView, painting: Painting) -> tuple[int, float]:
    """Pictures of odd sizes, up to 1 to 20: how many claimed places, and the share of tokens found there."""
    rng = np.random.default_rng(0)
    shares, claimed, started = [], 0, time.perf_counter()
    with patches_alone(view.towers):
        for number in range(painting.pictures):
            if time.perf_counter() - started > painting.seconds:
                break
            width, height = _odd_size(rng)
            picture = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
            try:
                layout = layout_of(view, picture)
            except (ExampleError, ChiasmError):
                continue
            if not layout.has_places:
                continue
            own = list(Painter(view, picture, number).own_shares(layout, tokens=2))
            claimed += bool(own)
            shares += own
    return claimed, float(np.mean(shares)) if shares else 0.0


def _odd_size(rng: np.random.Generator) -> tuple[int, int]:
    """Sides of 20 to 800 pixels, both odd, of any shape up to 1 to 20."""
    while True:
        width, height = (int(2 ** rng.uniform(4.4, 9.6)) | 1 for _ in range(2))
        if max(width, height) <= 20 * min(width, height):
            return width, height


def _why(error: ChiasmError, model_type: str) -> str:
    why = error.found.removeprefix(f"the architecture `{model_type}`, ").partition("; the nearest")[0]
    return why.replace("whose", "its", 1) if why.startswith("whose ") else why


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"


def _start(
    model_type: str, row: Mapping[str, Any] | None, painting: Painting, path: Path, again: _Again = repainted
) -> int:
    """A process that writes the entry of a type, whatever that type does to it; its id. `row`: do `again` for that."""
    child = os.fork()
    if child == 0:
        # Of its own computing, so that a machine that is busy with something else breaks off no trial.
        resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
        try:
            found = entry(model_type, painting) if row is None else again(model_type, row, painting)
            path.write_text(json.dumps(found))
        except BaseException:
            traceback.print_exc()
        os._exit(0)
    return child


_AGAIN: Final[dict[str, _Again]] = {"--paint": repainted, "--kinds": with_new_kinds}


def held() -> dict[str, Mapping[str, Any]]:
    """What the table holds, in the order of the mapping."""
    known = json.loads(FILE.read_text())["types"] if FILE.is_file() else {}
    return {name: known.get(name, _NOTHING) for name in MAPPED}


def main(arguments: list[str]) -> int:
    numbers = {"--pictures": 20, "--processes": 2, "--seconds": 600}
    names = [name for name in arguments if name not in _AGAIN]
    again = next((_AGAIN[name] for name in arguments if name in _AGAIN), None)
    for option in numbers.keys() & set(arguments):
        at = names.index(option)
        numbers[option] = int(names[at + 1])
        del names[at : at + 2]
    torch.set_num_threads(1)
    painting = Painting(numbers["--pictures"], numbers["--seconds"])
    waiting = [name for name in names or MAPPED if name not in listed_types()]
    rows: dict[str, Mapping[str, Any]] = {}
    if again is not None:
        of_it = (lambda row: row["found"] is not None) if again is repainted else (lambda row: len(row["takes"]) > 0)
        rows = {name: row for name, row in held().items() if of_it(row)}
        waiting = [name for name in waiting if name in rows]
    running: dict[int, tuple[str, float]] = {}
    write(transformers.__version__, held())
    with tempfile.TemporaryDirectory() as folder:
        while waiting or running:
            while waiting and len(running) < numbers["--processes"]:
                name = waiting.pop(0)
                child = _start(name, rows.get(name), painting, Path(folder) / f"{name}.json", again or repainted)
                running[child] = (name, time.perf_counter())
            name, started = running.pop(os.wait()[0])
            path = Path(folder) / f"{name}.json"
            late = _NOTHING | {
                "reason": f"its trial was broken off, or took more than {_SECONDS // 60} minutes of computing"
            }
            found = json.loads(path.read_text()) if path.is_file() else rows.get(name, late)
            # After each, so that a run that is stopped keeps what it found.
            write(transformers.__version__, held() | {name: found})
            seconds = time.perf_counter() - started
            print(f"{found['status']:<9} {name:<24} {seconds:5.1f} s  {found['reason']}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
