"""What all peers share: one model, one set of inputs, one clock. Runs in each peer's own environment.

Needs only torch, transformers and safetensors. Reads a job as JSON from standard input:
`model` (a directory), `cuts` (`name`, `queries`, `keys`, `layers`: lists of positions and layers) or `patches` (`name`,
`layer`, `rows`; the states, T x D, lie in the file `states`), `repeats`, `threads`, `out` (where the logits go). Prints
the times as JSON on the last line of standard output.
"""

import importlib.metadata
import json
import sys
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from transformers import LlavaForConditionalGeneration
from transformers.utils.logging import disable_progress_bar


class Cut(NamedTuple):
    """In `layers`, the rows `queries` do not attend to the columns `keys`."""

    queries: torch.Tensor
    keys: torch.Tensor
    layers: list[int]

    def mask(self, length: int) -> torch.Tensor:
        """1 x 1 x T x T, True where attention is allowed: causal, without the cut pairs."""
        allowed = torch.ones(length, length, dtype=torch.bool).tril()
        allowed[self.queries[:, None], self.keys[None, :]] = False
        return allowed[None, None]


class StatePatch(NamedTuple):
    """What `layer` is given at `rows` in place of its own states: those of `states` (T x D)."""

    layer: int
    rows: torch.Tensor
    states: torch.Tensor

    def put_into(self, hidden: torch.Tensor) -> torch.Tensor:
        """`hidden` (1 x T x D) with these states in place."""
        hidden = hidden.clone()
        hidden[:, self.rows] = self.states[self.rows]
        return hidden


class Engine(ABC):
    """A way to cut attention and to patch states. `forward` is one pass over image and text; None changes nothing."""

    attention = "sdpa"

    def __init__(self, model: LlavaForConditionalGeneration, folder: str) -> None:
        self.model, self.folder = model, folder
        self.layers = model.model.language_model.layers

    @abstractmethod
    def forward(self, inputs: dict[str, Any], cut: Cut | StatePatch | None) -> torch.Tensor:
        """Logits at the last position."""


@torch.no_grad()
def main(package: str, engine: type[Engine]) -> None:
    """Time `engine` on the job from standard input: clean, cut, clean, cut, ..., clean after a warm-up of both."""
    disable_progress_bar()
    job = json.loads(sys.stdin.read())
    torch.set_num_threads(job["threads"])
    model = LlavaForConditionalGeneration.from_pretrained(job["model"], attn_implementation=engine.attention).eval()
    inputs = load_file(Path(job["model"]) / "inputs.safetensors")
    cuts: dict[str, Cut | StatePatch] = {
        c["name"]: Cut(torch.tensor(c["queries"]), torch.tensor(c["keys"]), c["layers"]) for c in job.get("cuts", ())
    }
    states = load_file(job["states"])["states"] if "patches" in job else torch.empty(0)
    cuts |= {p["name"]: StatePatch(p["layer"], torch.tensor(p["rows"]), states) for p in job.get("patches", ())}
    made = engine(model, job["model"])
    logits = {"clean": made.forward(inputs, None)}
    for name, cut in cuts.items():
        logits[name] = made.forward(inputs, cut)
    clean, changed = [_timed(made, inputs, None)], []
    names = list(cuts)
    for k in range(job["repeats"]):
        changed.append(_timed(made, inputs, cuts[names[k % len(names)]]))
        clean.append(_timed(made, inputs, None))
    save_file({name: value.float().flatten().contiguous() for name, value in logits.items()}, job["out"])
    versions = {p: importlib.metadata.version(p) for p in {"torch", "transformers", package}}
    name = "changed" if "patches" in job else "cut"
    print(json.dumps({"versions": versions, "attention": engine.attention, "clean": clean, name: changed}))


def _timed(engine: Engine, inputs: dict[str, Any], cut: Cut | StatePatch | None) -> dict[str, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    engine.forward(inputs, cut)
    return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
