"""What plans cost in seconds and bytes: warm, synchronised, repeated, taking turns with the plain model."""

import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import GenerationConfig

from chiasm.interventions.skips import SkipPlan
from chiasm.models.frame import keep_logits
from chiasm.models.skipping.apply import skipping
from chiasm.models.view import ModelView

_TOKENS = 8
_TRIES, _SHORT = 3, 0.1  # calls, seconds


class Repeat(NamedTuple):
    """One repeat: seconds to read a prompt, and times as shares of the plain model's call beside it."""

    prefill_seconds: float
    prefill_share: float
    batch_share: float


@dataclass(frozen=True, slots=True)
class Cost:
    """Medians over the repeats, and the `repeats` themselves. `prefill_spread`: interquartile range (s)."""

    prefill_seconds: float
    prefill_spread: float
    decode_seconds: float
    peak_bytes: int
    repeats: tuple[Repeat, ...] = ()


@torch.no_grad()
def costs(
    view: ModelView,
    inputs: Mapping[str, Any],
    together: Mapping[str, Any],
    plans: Sequence[SkipPlan],
    repeats: int,
    done: Callable[[], None],
) -> list[Cost]:
    """The cost of reading `inputs` and of decoding after them under each plan, beside the plain model.

    `together`: several prompts in one batch. Where a prompt is short, gathering its rows can take longer than what it
    saves, and only a batch of them is faster.

    Every call under a plan stands next to a call of the plain model, now before and now behind it, so that what else
    the machine does falls on both; all plans take their turn in every repeat. A plan without skips is measured as any
    other: its ratios say how much two equal calls differ here. On the CPU the peak counts tensors that torch
    allocates, on a GPU what its allocator hands out; both without the weights.
    """
    prefill, decode = (np.empty((len(plans), repeats)) for _ in range(2))
    shares = {name: np.empty((len(plans), repeats)) for name in ("one", "batch")}
    peaks = []
    for plan in plans:
        with skipping(view, plan, same_weights=False):
            _forward(view, inputs)
            _forward(view, together)
            peaks.append(peak_bytes(view, lambda: _forward(view, inputs)))
        done()
    for repeat in range(repeats):
        for index, plan in enumerate(plans):
            first = (repeat + index) % 2 == 0
            prefill[index, repeat], shares["one"][index, repeat] = _beside(view, plan, inputs, first)
            _, shares["batch"][index, repeat] = _beside(view, plan, together, first)
            with skipping(view, plan, same_weights=False):
                one, more = (_seconds(view, _generating(view, inputs, n)) for n in (1, 1 + _TOKENS))
                decode[index, repeat] = (more - one) / _TOKENS
        done()
    quartiles = np.percentile(prefill, [25, 75], axis=1)
    return [
        Cost(
            prefill_seconds=float(np.median(prefill[k])),
            prefill_spread=float(quartiles[1, k] - quartiles[0, k]),
            decode_seconds=float(np.median(decode[k])),
            peak_bytes=peaks[k],
            repeats=tuple(
                Repeat(*(float(x) for x in one))
                for one in zip(prefill[k], shares["one"][k], shares["batch"][k], strict=True)
            ),
        )
        for k in range(len(plans))
    ]


def _beside(view: ModelView, plan: SkipPlan, inputs: Mapping[str, Any], first: bool) -> tuple[float, float]:
    """Seconds of a forward under `plan`, and their ratio to the plain model's, which goes `first` or second."""

    def plain() -> float:
        return _seconds(view, lambda: _forward(view, inputs))

    before = plain() if first else None
    with skipping(view, plan, same_weights=False):
        seconds = _seconds(view, lambda: _forward(view, inputs))
    return seconds, seconds / (plain() if before is None else before)


def _forward(view: ModelView, inputs: Mapping[str, Any]) -> None:
    view.model(**inputs, **keep_logits(view, slice_to=1), use_cache=True)


def _generating(view: ModelView, inputs: Mapping[str, Any], tokens: int) -> Callable[[], Any]:
    config = GenerationConfig(max_new_tokens=tokens, do_sample=False, eos_token_id=None, pad_token_id=0)
    return lambda: view.model.generate(**inputs, generation_config=config)


def _seconds(view: ModelView, run: Callable[[], Any]) -> float:
    """Seconds of a call; of a short one those of the shortest of three, since interruptions only add to them."""
    found: list[float] = []
    while not found or (len(found) < _TRIES and found[0] < _SHORT):
        _synchronise(view)
        started = time.perf_counter()
        run()
        _synchronise(view)
        found.append(time.perf_counter() - started)
    return min(found)


def _synchronise(view: ModelView) -> None:
    if view.device.type == "cuda":
        torch.cuda.synchronize(view.device)


def peak_bytes(view: ModelView, run: Callable[[], Any]) -> int:
    """The most bytes that `run` holds at once beyond what is there before: on the CPU, tensors that torch allocates."""
    if view.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(view.device)
        before = torch.cuda.memory_allocated(view.device)
        run()
        return torch.cuda.max_memory_allocated(view.device) - before
    with AllocatedBytes() as counted:
        run()
    return counted.peak


class AllocatedBytes(TorchDispatchMode):
    """Bytes of storages created while open, until they are freed: `live` now, and at their `peak`.

    Workspaces inside kernels are not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)}
        output = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(output):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self._known | given:
                    self._open(storage)
        return output

    def _open(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        self._known.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._close, key, size)

    def _close(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.live -= size
