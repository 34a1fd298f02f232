"""The variants of one example, and which rows of which table each of them becomes."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from chiasm.core.errors import EmptySpanError, ExampleError
from chiasm.core.example import Example
from chiasm.interventions import BlockedAttention, Change, Intervention, Variant, Window
from chiasm.models.encoding.encoded import Encoded
from chiasm.models.executors.jobs import Job, Readout, StateReadout
from chiasm.models.executors.masks import hidden_images
from chiasm.models.view import LayerKind
from chiasm.studies.flow.controls import random_controls
from chiasm.studies.flow.patches import SuperPatch, super_patches
from chiasm.studies.flow.spec import FlowSpec

NOISE_EXAMPLES = 16
"""Examples whose noise floor is measured: no-ops of two sizes in every window, beside the cuts."""


class Planned(NamedTuple):
    """One variant and the columns that its rows have besides what comes out. `table` "" is a no-op for comparison."""

    variant: Variant
    table: str
    window: Window
    columns: dict[str, Any]


class Plan(NamedTuple):
    """All variants of one example. `noops`: where the no-op of a window stands among them, by (start, stop).

    `paired`: effects are differences to the no-op of their window, instead of to the clean run.
    """

    job: Job
    planned: tuple[Planned, ...]
    noops: dict[tuple[int, int], int]
    paired: bool
    skipped: tuple[tuple[str, str], ...]

    @property
    def kind(self) -> tuple[tuple[str, str], ...]:
        """Plans of one kind have the same sequence of cuts and controls, so that they fit into one batch."""
        named = (
            (str(p.columns.get("cut")), str(p.columns.get("control"))) for p in self.planned if p.table != "patches"
        )
        return tuple(dict.fromkeys(named))


def plan(
    spec: FlowSpec,
    interventions: Sequence[Intervention],
    kinds: Sequence[LayerKind],
    index: int,
    example: Example,
    encoded: Encoded,
    *,
    half: bool = False,
    causal: bool = True,
) -> Plan:
    """What is run for `encoded`, the `index`-th example.

    `kinds`: of the decoder's layers. `half`: the model computes in half precision. `causal`: no token of its decoder
    attends to a later one.

    **Errors:** `ExampleError` if no cut has positions here; `ChiasmError` for a span that no example of this model has.
    """
    layers = len(kinds)
    windows = spec.windows_of(layers)
    last = tuple(int(p) for p in encoded.spans.require("last"))
    final = Window(layers - 1, layers, layers - 1)
    planned = [_noop(final, last)]
    noops: dict[tuple[int, int], int] = {}
    noisy = (spec.controls or half) and index < NOISE_EXAMPLES
    # In half precision every example needs them: they stand at the same places in all plans then.
    if half:
        noops = _noops(planned, windows, last)
    skipped = []
    for intervention in interventions:
        try:
            acting = [window for window in windows if acts(intervention.on(encoded.spans, window), encoded, kinds)]
            if len(acting) < len(windows):
                skipped.append((example.id, f"{intervention.text}: {_where(kinds)}"))
            if acting:
                planned += _intervention_variants(spec, intervention, acting, example, encoded, causal)
        except EmptySpanError as error:
            reason = f"{intervention.text}: {error}"
            if (
                "image.o" in intervention.text
                and encoded.layouts
                and not any(layout.has_places for layout in encoded.layouts)
            ):
                reason += ", since this model's image tokens look at the picture as a whole"
            skipped.append((example.id, reason))
    if not any(one.table == "effects" for one in planned):
        raise ExampleError("; ".join(dict.fromkeys(reason for _, reason in skipped)))
    if noisy:
        noops = noops or _noops(planned, windows, last)
        planned += _noise(windows, encoded, last)
    if index < spec.patches:
        parts = super_patches(encoded.layouts, spec.patch_size)
        planned += [_patch(part, Window(0, layers, layers // 2), encoded) for part in parts]
    read_states = [StateReadout("last", last)]
    if index < spec.words and not example.captions:
        skipped.append((example.id, "words at the question: it has no captions to compare them with"))
    elif index < spec.words:
        read_states.append(StateReadout("question", tuple(int(p) for p in encoded.spans["question"])))
    job = Job(
        encoded,
        tuple(p.variant for p in planned),
        _readout(encoded),
        tuple(read for read in read_states if read.positions),
    )
    return Plan(job, tuple(planned), noops, half, tuple(skipped))


def bare(encoded: Encoded, layers: int, tokens: tuple[int, ...]) -> Job:
    """A run of `encoded` with nothing changed, scored for `tokens`."""
    last = tuple(int(p) for p in encoded.spans.require("last"))
    noop = _noop(Window(layers - 1, layers, layers - 1), last)
    return Job(encoded, (noop.variant,), Readout(_readout(encoded).positions, tokens))


def acts(change: Change, encoded: Encoded, kinds: Sequence[LayerKind]) -> bool:
    """Whether `change` takes anything away: a window without attention would show zeros that mean nothing."""
    inside = kinds[change.window.start : change.window.stop]
    if not isinstance(change, BlockedAttention) or "attention" in inside:
        return True
    return "cross_attention" in inside and bool(hidden_images(encoded, change))


def _where(kinds: Sequence[LayerKind]) -> str:
    attending = ", ".join(str(layer) for layer, kind in enumerate(kinds) if kind == "attention")
    found = f"attention layers only: positions attend to each other in layers {attending} of {len(kinds)}"
    if "cross_attention" in kinds:
        found += f", to the picture in {', '.join(str(i) for i, kind in enumerate(kinds) if kind == 'crossing')}"
    return f"{found}; windows in which the cut takes nothing away are left out"


def _noop(window: Window, last: tuple[int, ...]) -> Planned:
    return Planned(Variant("no-op", (BlockedAttention(window, last, ()),)), "", window, {})


def _noops(planned: list[Planned], windows: Sequence[Window], last: tuple[int, ...]) -> dict[tuple[int, int], int]:
    """Append a no-op for every window; where they stand, by (start, stop)."""
    first = len(planned)
    planned += [_noop(window, last) for window in windows]
    return {(window.start, window.stop): first + k for k, window in enumerate(windows)}


def _readout(encoded: Encoded) -> Readout:
    """The first token of the answer; of a teacher-forced answer every token, each read one position before it."""
    last = int(encoded.spans.require("last")[-1])
    tokens = encoded.answer_tokens
    if not tokens:
        return Readout((last,))
    return Readout((last, *(int(p) for p in encoded.spans["answer"][:-1])), tokens)


def _intervention_variants(
    spec: FlowSpec,
    intervention: Intervention,
    windows: Sequence[Window],
    example: Example,
    encoded: Encoded,
    causal: bool,
) -> Iterator[Planned]:
    changes = [intervention.on(encoded.spans, window) for window in windows]
    if causal and isinstance(changes[0], BlockedAttention) and min(changes[0].keys) > max(changes[0].queries):
        # Nothing would change, which reads like a connection that does not matter.
        source, _, target = intervention.text.partition("->")
        raise EmptySpanError(f"{source} stands behind {target}, which cannot see it; did you mean {target}->{source}?")
    for window, change in zip(windows, changes, strict=True):
        yield Planned(Variant(intervention.text, (change,)), "effects", window, {"cut": intervention.text})
    if not spec.controls:
        return
    prompt = int(encoded.spans["last"][-1]) + 1
    key = (spec.seed, example.id, intervention.text)
    for control, sample, change_in in random_controls(changes[0], prompt, spec.draws, key):
        columns = {"cut": intervention.text, "control": control, "sample": sample}
        for window in windows:
            yield Planned(Variant(f"{intervention.text} {control}", (change_in(window),)), "controls", window, columns)


def _noise(windows: Sequence[Window], encoded: Encoded, last: tuple[int, ...]) -> Iterator[Planned]:
    """No-ops that carry as many rows as the cuts with the longest tail do."""
    rows = tuple(int(p) for p in encoded.spans["question"]) or last
    for window in windows:
        yield Planned(Variant("noise", (BlockedAttention(window, rows, ()),)), "noise", window, {})


def _patch(part: SuperPatch, window: Window, encoded: Encoded) -> Planned:
    """The patch hidden in all layers from every row behind it that is not itself of what was perceived.

    All of them, since one row left open would hand on what it read: patches are many, and each says little.
    """
    behind = np.arange(part.positions[-1] + 1, encoded.length)
    queries = tuple(int(p) for p in np.setdiff1d(behind, encoded.spans.perceptual))
    change = BlockedAttention(window, queries, part.positions)
    columns = dict(zip(("x0", "y0", "x1", "y1"), part.rect, strict=True)) | {"patch": part.number, "tile": part.tile}
    return Planned(Variant(f"patch {part.number}", (change,)), "patches", window, columns)
