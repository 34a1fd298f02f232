"""What a law says of a model, and what the laws are tried on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from chiasm.core.errors import ExampleError
from chiasm.interventions import AttentionKnockout, BlockedAttention, Variant, Window, ZeroedBranch, centred
from chiasm.models.encoding.encoded import Encoded
from chiasm.models.executors.guard import Guard
from chiasm.models.executors.jobs import Executor, Job, JobResult, Readout
from chiasm.models.executors.lockstep import LockstepExecutor
from chiasm.models.executors.reference import ReferenceExecutor
from chiasm.models.view import ModelView


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

    `kind`: what the inputs are (image, video or audio). `allowed`: the largest difference in log-probability that
    counts as equal.
    """

    view: ModelView
    kind: str
    encoded: tuple[Encoded, Encoded, Encoded]
    allowed: float

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


def pairs(kind: str) -> tuple[str, ...]:
    """Cuts with the order of reading, single spans and unions; those of spans that an example lacks are left out."""
    return (f"{kind}->question", f"{kind}->last", "question->last", "last->last", f"{kind}+question->suffix")


def against(kind: str) -> tuple[str, ...]:
    """Cuts against the order of reading."""
    return (f"question->{kind}", f"last->{kind}", "suffix->question")


def variants(
    view: ModelView, encoded: Encoded, cuts: Sequence[str], widths: Sequence[int] = (3,), *, zeros: bool = True
) -> tuple[Variant, ...]:
    """Every cut and ablation at the first, a middle and the last layer, windows of each of `widths`."""
    found: list[Variant] = []
    windows = [centred(view.n_layers, width)[depth] for width in widths for depth in depths(view)]
    for window in windows:
        named = [
            AttentionKnockout.parse(text) for text in cuts if all(len(encoded.spans[side]) for side in text.split("->"))
        ]
        found += [Variant(f"{cut.text}@{window.centre}", (cut.on(encoded.spans, window),)) for cut in named]
        if zeros:
            rows = tuple(int(p) for p in encoded.spans.require("question"))
            found += [
                Variant(f"zero {c}@{window.centre}", (ZeroedBranch(window, c, rows),)) for c in ("attention", "mlp")
            ]
    return tuple(found)


def within(view: ModelView, encoded: Encoded, kind: str) -> tuple[Variant, ...]:
    """The first half of the input's tokens reads nothing of the second half: against the order, within one input."""
    tokens = tuple(int(p) for p in encoded.spans.require(kind))
    half = len(tokens) // 2
    windows = [centred(view.n_layers, 3)[depth] for depth in depths(view)] if half else []
    return tuple(Variant(f"within@{w.centre}", (BlockedAttention(w, tokens[:half], tokens[half:]),)) for w in windows)


def depths(view: ModelView) -> list[int]:
    """The first, a middle and the last layer."""
    return sorted({0, view.n_layers // 2, view.n_layers - 1})


def nothing(encoded: Encoded, window: Window) -> Variant:
    """A cut without keys: no change, on the path of a change."""
    return Variant("nothing", (BlockedAttention(window, tuple(int(p) for p in encoded.spans.require("question")), ()),))


def packed(view: ModelView, jobs: Sequence[Job]) -> list[JobResult]:
    """All variants in one walk, compared with nothing on the way.

    **Errors:** `BrokenLawError` where jobs that share a walk had to be computed alone.
    """
    executor = LockstepExecutor(guard=Guard(enabled=False))
    found = sound(executor, view, jobs)
    if executor.repeated:
        raise BrokenLawError("jobs that should share a walk spoil each other's")
    return found


def plain(view: ModelView, jobs: Sequence[Job]) -> list[JobResult]:
    """One masked forward per variant."""
    return sound(ReferenceExecutor(reuse_vision=True), view, jobs)


def sound(executor: Executor, view: ModelView, jobs: Sequence[Job]) -> list[JobResult]:
    """Outcomes of jobs that must all succeed.

    **Errors:** the first job's `ExampleError`.
    """
    results = executor.run(view, jobs)
    for result in results:
        if isinstance(result, ExampleError):
            raise result
    return [result for result in results if isinstance(result, JobResult)]


def whole(outcome: JobResult) -> Float[Tensor, "K P N"]:
    """The log-probabilities of the whole vocabulary, the clean run's first."""
    assert outcome.full is not None
    return outcome.full


def job(encoded: Encoded, *changes: Variant) -> Job:
    """Read at the last token, the whole vocabulary; an answer is read at each of its tokens."""
    last = int(encoded.spans.require("last")[-1])
    positions = tuple(range(last, last + len(encoded.answer_tokens))) or None
    return Job(encoded, changes, Readout(positions, encoded.answer_tokens or None, full=True))


def own_logprobs(logits: Float[Tensor, "*n N"]) -> Float[Tensor, "*n N"]:
    """Log-probabilities in float32 at least, on the CPU."""
    return torch.log_softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1).cpu()
