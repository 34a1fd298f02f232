"""What the laws are tried on: a model, images, clips or sounds of noise, and variants of questions about them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from chiasm.core.errors import ExampleError
from chiasm.core.example import Box, Example
from chiasm.core.media import Clip, Sound
from chiasm.interventions import (
    AttentionKnockout,
    BlockedAttention,
    Component,
    Variant,
    Window,
    ZeroedBranch,
    centred,
)
from chiasm.models.encoded import Encoded
from chiasm.models.executors.guard import Guard
from chiasm.models.executors.jobs import Executor, Job, JobResult, Readout
from chiasm.models.executors.lockstep import LockstepExecutor
from chiasm.models.executors.reference import ReferenceExecutor
from chiasm.models.view import ModelView

_QUESTIONS = (
    "What colour is the left half of it?",
    "Is there anything here?",
    "Which of the two is larger, the upper or the lower part of it?",
)
_SIZES = ((240, 180), (130, 250))  # wide, tall
_FRAMES, _RATE = 4, 16_000
_SECONDS = (0.5, 0.8)
_BRANCHES: tuple[Component, ...] = ("attention", "mlp")
_FIELDS = {"image": "images", "video": "videos", "audio": "audios"}


class Law(NamedTuple):
    """One law: `ok` (None: it does not apply to this model), the measured `value`, and the `reason` unless it holds.

    `value`: the largest difference where the law is an equality, else what its text says; None where nothing is
    measured.
    """

    name: str
    ok: bool | None
    value: float | None
    reason: str


class BrokenLawError(Exception):
    """A law does not hold: the reason, and the value that was measured."""

    def __init__(self, reason: str, value: float | None = None) -> None:
        super().__init__(reason)
        self.value = value


class NotApplicableError(Exception):
    """A law says nothing about this model: the reason."""


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """A model and what its laws are tried on: `encoded` is two questions on one input, and one on another.

    `modality`: what the inputs are (image, video or audio). `allowed`: the largest difference in log-probability that
    counts as equal. `walks`: all cuts can be computed in one walk; where they cannot, there is one masked forward for
    each.
    """

    view: ModelView
    modality: str
    encoded: tuple[Encoded, Encoded, Encoded]
    allowed: float
    walks: bool = True

    @property
    def first(self) -> Encoded:
        return self.encoded[0]

    def require_equal(self, difference: float) -> float:
        """`difference`, if it is allowed (NaN is not).

        **Errors:** `BrokenLawError` otherwise.
        """
        if not difference <= self.allowed:
            raise BrokenLawError(f"differs by {difference:.2g}, allowed {self.allowed:.2g}", difference)
        return difference


def trial_on(view: ModelView, modality: str, allowed: float) -> Trial:
    """A trial on two questions on one input, and one on another of a different shape.

    **Errors:** `ExampleError`, `ChiasmError` for what this model cannot take.
    """
    one, other = noise(modality, 0), noise(modality, 1)
    first, second, third = (
        view.encode(noise_example(modality, (given,), question)) for given, question in ((one, 0), (one, 1), (other, 2))
    )
    for encoded in (first, second, third):
        if not len(encoded.spans[modality]):
            raise ExampleError(f"the span `{modality}` of an example with such an input is empty")
    return Trial(view, modality, (first, second, third), allowed)


def modalities(view: ModelView) -> list[str]:
    """What the family takes besides text, images first."""
    return [modality for modality in _FIELDS if modality in view.family.modalities]


def noise(modality: str, seed: int) -> Any:
    """One image, clip or sound; those of seed 0 and 1 differ in shape or length."""
    rng = np.random.default_rng(seed)
    width, height = _SIZES[seed % 2]
    if modality == "image":
        return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
    if modality == "video":
        return Clip(rng.integers(0, 256, (_FRAMES, height, width, 3), dtype=np.uint8), fps=2.0)
    samples = rng.uniform(-0.9, 0.9, int(_SECONDS[seed % 2] * _RATE))
    return Sound(samples.astype(np.float32), _RATE)


def noise_like(given: Any, seed: int) -> Any:
    """Noise of another seed in the size or length of `given`."""
    rng = np.random.default_rng(seed)
    if isinstance(given, Clip):
        return Clip(rng.integers(0, 256, given.frames.shape, dtype=np.uint8), fps=given.fps)
    if isinstance(given, Sound):
        return Sound(rng.uniform(-0.9, 0.9, len(given.samples)).astype(np.float32), given.rate)
    return Image.fromarray(rng.integers(0, 256, (given.height, given.width, 3), dtype=np.uint8))


def noise_example(modality: str, media: tuple[Any, ...], question: int = 0) -> Example:
    """One of three questions, of different length, about `media` of one modality."""
    box = {"boxes": (Box("part", 10, 20, 60, 50),)} if modality == "image" else {}
    name = f"check-{modality}-{question}"
    return Example(id=name, question=_QUESTIONS[question], **{_FIELDS[modality]: media}, **box)


def forward_cuts(modality: str) -> tuple[str, ...]:
    """Cuts with the order of reading, single spans and unions; those of spans that an example lacks are left out."""
    return (
        *(f"{modality}->question", f"{modality}->last", "question->last", "last->last"),
        f"{modality}+question->suffix",
    )


def backward_cuts(modality: str) -> tuple[str, ...]:
    """Cuts against the order of reading."""
    return (f"question->{modality}", f"last->{modality}", "suffix->question")


def variants_of(
    view: ModelView, encoded: Encoded, cuts: Sequence[str], widths: Sequence[int] = (3,), *, zeroed: bool = True
) -> tuple[Variant, ...]:
    """Every cut and ablation at the first, a middle and the last layer, windows of each of `widths`."""
    present = [text for text in cuts if all(len(encoded.spans[side]) for side in text.split("->"))]
    knockouts = [AttentionKnockout.parse(text) for text in present]
    question = tuple(encoded.spans.require("question").tolist())
    found: list[Variant] = []
    for window in (centred(view.n_layers, width)[depth] for width in widths for depth in depths(view)):
        found += [Variant(f"{cut.text}@{window.centre}", (cut.on(encoded.spans, window),)) for cut in knockouts]
        layers = [view.layers[index] for index in range(window.start, window.stop)]
        for branch in _BRANCHES if zeroed else ():
            if not all(view.has_branch(layer, branch) for layer in layers):
                continue
            found.append(Variant(f"zero {branch}@{window.centre}", (ZeroedBranch(window, branch, question),)))
    return tuple(found)


def variants_within_input(view: ModelView, encoded: Encoded, modality: str) -> tuple[Variant, ...]:
    """The first half of the input's tokens reads nothing of the second half: against the order, within one input."""
    tokens = tuple(encoded.spans.require(modality).tolist())
    half = len(tokens) // 2
    windows = [centred(view.n_layers, 3)[depth] for depth in depths(view)] if half else []
    return tuple(Variant(f"within@{w.centre}", (BlockedAttention(w, tokens[:half], tokens[half:]),)) for w in windows)


def noop(encoded: Encoded, window: Window) -> Variant:
    """A cut without keys: no change, on the path of a change."""
    return Variant("no-op", (BlockedAttention(window, tuple(encoded.spans.require("question").tolist()), ()),))


def depths(view: ModelView) -> list[int]:
    """The first, a middle and the last layer."""
    return sorted({0, view.n_layers // 2, view.n_layers - 1})


def job_of(encoded: Encoded, *variants: Variant) -> Job:
    """Read at the last token, the whole vocabulary; an answer is read at each of its tokens."""
    last = int(encoded.spans.require("last")[-1])
    positions = tuple(range(last, last + len(encoded.answer_tokens))) or None
    return Job(encoded, variants, Readout(positions, encoded.answer_tokens or None, full=True))


def run_packed(view: ModelView, jobs: Sequence[Job]) -> list[JobResult]:
    """All variants in one walk, compared with nothing on the way.

    **Errors:** `BrokenLawError` where jobs that share a walk had to be computed alone.
    """
    executor = LockstepExecutor(guard=Guard(enabled=False))
    found = run_all(executor, view, jobs)
    if executor.repeated:
        raise BrokenLawError("jobs that should share a walk spoil each other's")
    return found


def run_plain(view: ModelView, jobs: Sequence[Job]) -> list[JobResult]:
    """One masked forward per variant."""
    return run_all(ReferenceExecutor(reuse_vision=True), view, jobs)


def run_all(executor: Executor, view: ModelView, jobs: Sequence[Job]) -> list[JobResult]:
    """Results of jobs that must all succeed.

    **Errors:** the first job's `ExampleError`.
    """
    found = []
    for result in executor.run(view, jobs):
        if isinstance(result, ExampleError):
            raise result
        found.append(result)
    return found


def full_logprobs(result: JobResult) -> Float[Tensor, "K P N"]:
    """The log-probabilities of the whole vocabulary, the clean run's first."""
    assert result.full is not None
    return result.full
