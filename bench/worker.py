"""One configuration, measured in a process of its own, so that its peak memory is nobody else's.

Reads a request as JSON from standard input, writes the measurement as JSON to standard output.
"""

import json
import sys
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from transformers import LlavaForConditionalGeneration
from transformers.utils.logging import disable_progress_bar

from bench.bound import flops_bound, flops_clean, flops_sweep, rows_bound
from bench.measure import Seconds, matmul_rate, peak_bytes, reset_peak, timed
from bench.shapes import SHAPES, Shape, build, default_dtype, prompts, spans_of
from chiasm.interventions import AttentionKnockout, Variant, Window, all_windows, centred
from chiasm.models.executors.guard import Guard
from chiasm.models.executors.jobs import Executor, Job, JobResult
from chiasm.models.executors.lockstep import LockstepExecutor
from chiasm.models.executors.reference import ReferenceExecutor
from chiasm.models.view import ModelView
from chiasm.studies.options import byte_count

THREE = ("image->question", "image->last", "question->last")
SIX = (
    "question->last",
    "image->last",
    "last->last",
    "image->question",
    "image.object->question",
    "image.other->question",
)
TO_LAST = ("question->last", "image->last")
_WARM = 7  # every so many variants are run before the clock starts: no divisor of a depth, so that windows vary


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to measure. `window`: a width, or 0 for all windows. `model`: a saved directory, or empty to build here.

    `subset` (reference): how many variants are run per repeat; the rest is extrapolated.
    """

    name: str
    shape: str
    cuts: tuple[str, ...]
    executor: Literal["lockstep", "reference"] = "lockstep"
    window: int = 9
    questions: int = 1
    memory: str | None = None
    repeats: int = 3
    subset: int = 2
    check: bool = False
    threads: int = 1
    device: str = "cpu"
    model: str = ""

    @classmethod
    def of(cls, values: dict[str, Any]) -> "Request":
        """A request from its JSON."""
        return cls(**values | {"cuts": tuple(values["cuts"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Times of alternating clean passes and sweeps: `clean` has one entry more than `sweep`.

    `passes` (reference): model passes in one timed run. `clean_peak`, `sweep_peak`: bytes. `effect`: the largest
    change of a log-probability that a cut made. `difference`: the largest one from plain masked forwards that the
    guard saw, and `guard`: the seconds it took.
    """

    request: Request
    variants: int
    clean: list[Seconds]
    sweep: list[Seconds]
    rows_bound: float
    flops_bound: float
    flops_clean: float
    flops_sweep: float
    matmul_rate: float
    clean_peak: int
    sweep_peak: int
    passes: int
    effect: float
    difference: float | None = None
    guard: float | None = None


def main() -> None:
    """Measure what standard input asks for."""
    disable_progress_bar()
    print(json.dumps(asdict(measure(Request.of(json.load(sys.stdin))))))


@torch.no_grad()
def measure(request: Request) -> Measurement:
    """Clean, sweep, clean, sweep, ..., clean: what drifts between them cancels in their ratio."""
    torch.set_num_threads(request.threads)
    shape, device = SHAPES[request.shape], request.device
    view = ModelView(_model(request, shape), None).as_served()
    encoded = prompts(shape, request.questions, device, view.dtype)
    variants = variants_of(request, shape)
    shared = int(spans_of(shape)["question"][0])
    clean_inputs = encoded[0].inputs

    def clean() -> None:
        # The strict yardstick: the head at one position only, as in the sweep. By default transformers runs it on all.
        view.model(**clean_inputs, use_cache=False, logits_to_keep=1)

    clean()
    reset_peak(device)
    clean_times = [timed(clean, device)]
    clean_peak = peak_bytes(device)
    guard = Guard(enabled=request.check)
    run = _Sweep(request, view, [Job(one, variants) for one in encoded], guard)
    run.warm_up()
    guarded = guard.seconds
    sweep_times: list[Seconds] = []
    sweep_peak = 0
    for _ in range(request.repeats):
        reset_peak(device)
        sweep_times.append(timed(run, device))
        sweep_peak = max(sweep_peak, peak_bytes(device))
        clean_times.append(timed(clean, device))
    if guard.seconds > guarded:
        raise RuntimeError(f"{request.name}: the guard ran inside a timed sweep")
    return Measurement(
        request=request,
        variants=len(variants) * request.questions,
        clean=clean_times,
        sweep=sweep_times,
        rows_bound=rows_bound(shape, variants, request.questions, shared),
        flops_bound=flops_bound(shape, variants, request.questions, shared),
        flops_clean=flops_clean(shape),
        flops_sweep=flops_sweep(shape, variants, request.questions, shared),
        matmul_rate=matmul_rate(shape.length, shape.width, shape.inner, device, view.dtype),
        clean_peak=clean_peak,
        sweep_peak=sweep_peak,
        passes=run.passes,
        effect=run.effect,
        difference=guard.largest if request.check else None,
        guard=guarded if request.check else None,
    )


def variants_of(request: Request, shape: Shape) -> tuple[Variant, ...]:
    """Every cut in every window, for one question."""
    spans = spans_of(shape)
    windows: tuple[Window, ...] = centred(shape.layers, request.window) if request.window else all_windows(shape.layers)
    return tuple(
        Variant(f"{cut} {w}", (AttentionKnockout.parse(cut).on(spans, w),)) for cut in request.cuts for w in windows
    )


class _Sweep:
    """One run of the executor; the reference takes the next few variants at every call, spread over all."""

    def __init__(self, request: Request, view: ModelView, jobs: list[Job], guard: Guard) -> None:
        self._view, self._jobs, self._calls = view, jobs, 0
        self.passes, self.effect = 0, 0.0
        self._request = request
        budget = None if request.memory is None else byte_count(request.memory)
        self._executor: Executor = (
            LockstepExecutor(memory=budget, batch_size=len(jobs), guard=guard)
            if request.executor == "lockstep"
            else ReferenceExecutor()
        )

    def warm_up(self) -> None:
        """Few variants of every cut, and the guard's forwards where asked for. Plain passes are warm already."""
        if self._request.executor == "lockstep":
            windows = len(self._jobs[0].variants) // len(self._request.cuts)
            step = min(_WARM, windows)
            self._run([Job(job.encoded, job.variants[::step]) for job in self._jobs])

    def __call__(self) -> None:
        jobs = self._jobs
        if self._request.executor == "reference":
            every = self._jobs[0].variants
            step = max(1, len(every) // (self._request.subset * self._request.repeats))
            start = self._calls * self._request.subset
            picked = tuple(every[(start + k) * step % len(every)] for k in range(self._request.subset))
            self._calls += 1
            self.passes = 1 + len(picked)
            jobs = [Job(self._jobs[0].encoded, picked)]
        self._run(jobs)

    def _run(self, jobs: list[Job]) -> None:
        for found in self._executor.run(self._view, jobs):
            if not isinstance(found, JobResult):
                raise found
            self.effect = max(self.effect, float((found.logprobs - found.clean).abs().max()))


def _model(request: Request, shape: Shape) -> LlavaForConditionalGeneration:
    if request.model:
        loaded = LlavaForConditionalGeneration.from_pretrained(request.model, attn_implementation="sdpa")
        return loaded.eval()
    return build(shape, request.device, default_dtype(request.device))


if __name__ == "__main__":
    main()
