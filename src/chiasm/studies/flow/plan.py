"""The variants of one example with their controls and patches, and which rows of which table each of them becomes."""

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from chiasm.core.errors import EmptySpanError, ExampleError
from chiasm.core.example import Example
from chiasm.interventions import (
    Ablation,
    AttentionKnockout,
    AveragedKeys,
    BlockedAttention,
    Change,
    Intervention,
    MeanAblation,
    StateAblation,
    Variant,
    Window,
    ZeroedBranch,
    pair_of,
)
from chiasm.models.encoded import Encoded
from chiasm.models.executors.jobs import Donor, Job, Readout, StateReadout
from chiasm.models.masks import hidden_images
from chiasm.models.parts import LayerKind
from chiasm.studies.flow.coalitions import Coalitions, coalitions, super_patches
from chiasm.studies.flow.followed_words import FollowedWord
from chiasm.studies.flow.spec import FlowSpec
from chiasm.studies.flow.state_ablations import StateSources, state_variants
from chiasm.studies.flow.sufficiency import kept_variants
from chiasm.studies.flow.tables import AVERAGED, DOSES, FEWEST_DOSED, SIZE_MATCHED, dose

NOISE_EXAMPLES = 16
"""Examples whose noise floor is measured: no-ops of two sizes in every window, beside the cuts."""


ROUNDING_EXAMPLES = 8
"""Examples whose effects are computed in float32 as well, where the model is computed in half precision. As many
inputs as the fewest that establish anything (`core.claims.MIN_INPUTS`)."""


class Planned(NamedTuple):
    """One variant and the columns that its rows have besides what comes out. `table` "" is a no-op for comparison."""

    variant: Variant
    table: str
    window: Window
    columns: dict[str, Any]


class ExamplePlan(NamedTuple):
    """All variants of one example. `noops`: where the no-op of a window stands among them, by (start, stop).

    `paired`: effects are differences to the no-op of their window, instead of to the clean run. `mapped`: the
    coalitions of the patches, if there is a map; their variants stand behind each other from `first_mapped` on.
    `words`: those of the answer that are followed, each on its own.
    """

    job: Job
    planned: tuple[Planned, ...]
    noops: dict[tuple[int, int], int]
    paired: bool
    skipped: tuple[tuple[str, str], ...]
    mapped: Coalitions | None = None
    first_mapped: int = 0
    words: tuple[FollowedWord, ...] = ()

    def effects_alone(self, encoded: Encoded, tokens: tuple[int, ...]) -> "ExamplePlan":
        """The cuts without all that stands beside them, on `encoded` and scored for `tokens`: from the clean run."""
        planned = tuple(one for one in self.planned if one.table == "effects")
        readout = Readout(self.job.readout.positions, tokens)
        donors = tuple(encoded if one is self.job.encoded else one for one in self.job.donors)
        job = Job(encoded, tuple(one.variant for one in planned), readout, donors=donors)
        return ExamplePlan(job, planned, {}, False, ())

    @property
    def kind(self) -> tuple[tuple[str, str], ...]:
        """Plans of one kind have the same sequence of cuts and controls, so that they fit into one batch."""
        named = (
            (str(p.columns.get("cut")), str(p.columns.get("control")))
            for p in self.planned
            if p.table not in ("patches", "coalitions")
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
    sources: StateSources | None = None,
    more: Sequence[Planned] = (),
    states: bool = True,
) -> ExamplePlan:
    """What is run for `encoded`, the `index`-th example.

    `kinds`: of the decoder's layers. `half`: the model computes in half precision. `causal`: no token of its decoder
    attends to a later one. `sources`: of the states that ablations put in; None where there is no such ablation.
    `more`: further variants of the example (`studies.flow.heads`). `states`: those of the unchanged run are read.

    **Errors:** `ExampleError` if no cut has positions here; `ChiasmError` for a span that no example of this model has.
    """
    layers = len(kinds)
    windows = spec.windows_of(layers)
    last = _ints(encoded.spans.require("last"))
    planned = [_noop(_last_layer(layers), last)]
    noops: dict[tuple[int, int], int] = {}
    # In half precision every example needs them: they stand at the same places in all plans then.
    if half:
        everywhere = [Window(0, layers, layers // 2)] if spec.routes else []
        windowed = [*windows, *everywhere, *(one.window for one in more)]
        noops = _noops(planned, tuple(dict.fromkeys(windowed)), last)
    skipped = []
    if encoded.unseen and any("image.o" in intervention.text for intervention in interventions):
        skipped.append((example.id, f"outside what the model sees of the image: {', '.join(encoded.unseen)}"))
    donors: list[Donor] = []
    for intervention in interventions:
        try:
            if isinstance(intervention, StateAblation):
                assert sources is not None
                attending = [kind == "attention" for kind in kinds]
                places = (windows, layers, example, encoded, sources, donors)
                made = state_variants(spec, intervention, *places, causal=causal, attending=attending)
                planned += [Planned(*one) for one in list(made)]
                continue
            effective = [w for w in windows if has_effect(intervention.on(encoded.spans, w), encoded, kinds)]
            if len(effective) < len(windows):
                skipped.append((example.id, f"{intervention.text}: {_where(kinds)}"))
            if effective:
                planned += _intervention_variants(spec, intervention, effective, example, encoded, causal)
        except EmptySpanError as error:
            skipped.append((example.id, f"{intervention.text}: {error}{_without_places(intervention, encoded)}"))
    if spec.routes:
        try:
            kept = list(kept_variants(spec, example, encoded.spans, layers, causal=causal))
            planned += [Planned(*one) for one in kept]
        except EmptySpanError as error:
            skipped.append((example.id, f"keep only {error}"))
    if not any(one.table == "effects" for one in planned):
        raise ExampleError("; ".join(dict.fromkeys(reason for _, reason in skipped)))
    planned += more
    if (spec.controls or half) and index < NOISE_EXAMPLES:
        noops = noops or _noops(planned, windows, last)
        planned += _noise(windows, encoded, last)
    mapped, first = _map(spec, index, example, encoded, layers), len(planned)
    if mapped is not None:
        planned += _coalition_variants(mapped, Window(0, layers, layers // 2))
    worded = index < spec.words
    if worded and not example.captions:
        skipped.append((example.id, "words at the question: it has no captions to compare them with"))
    asked = _ints(encoded.spans["question"]) if worded and example.captions else ()
    read = (StateReadout("last", last), *([StateReadout("question", asked)] if asked else [])) if states else ()
    job = Job(encoded, tuple(p.variant for p in planned), _readout(encoded), read, tuple(donors))
    return ExamplePlan(job, tuple(planned), noops, half, tuple(skipped), mapped, first)


def clean_job(encoded: Encoded, layers: int, tokens: tuple[int, ...]) -> Job:
    """A run of `encoded` with nothing changed, scored for `tokens`."""
    noop = _noop(_last_layer(layers), _ints(encoded.spans.require("last")))
    return Job(encoded, (noop.variant,), Readout(_readout(encoded).positions, tokens))


def has_effect(change: Change, encoded: Encoded, kinds: Sequence[LayerKind]) -> bool:
    """Whether `change` takes anything away: a window without attention would show zeros that mean nothing."""
    inside = kinds[change.window.start : change.window.stop]
    if isinstance(change, AveragedKeys):
        return any(kind != "cross_attention" for kind in inside)
    if not isinstance(change, BlockedAttention) or "attention" in inside:
        return True
    return "cross_attention" in inside and bool(hidden_images(encoded, change))


def _without_places(intervention: Intervention, encoded: Encoded) -> str:
    """Why no position of an object was found, where no image token has a place, or the object is cropped away."""
    if "image.o" not in intervention.text or not encoded.layouts:
        return ""
    if encoded.unseen:
        return f", since the object ({', '.join(encoded.unseen)}) lies outside what the model sees"
    if any(one.has_places for one in encoded.layouts):
        return ""
    return ", since this model's image tokens look at the image as a whole"


def _where(kinds: Sequence[LayerKind]) -> str:
    attending = ", ".join(str(layer) for layer, kind in enumerate(kinds) if kind == "attention")
    found = f"attention layers only: positions attend to each other in layers {attending} of {len(kinds)}"
    if "cross_attention" in kinds:
        found += f", to the image in {', '.join(str(i) for i, kind in enumerate(kinds) if kind == 'cross_attention')}"
    return f"{found}; windows in which the cut takes nothing away are left out"


def _ints(positions: Iterable[Any]) -> tuple[int, ...]:
    return tuple(int(p) for p in positions)


def _last_layer(layers: int) -> Window:
    return Window(layers - 1, layers, layers - 1)


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
    return Readout((last, *_ints(encoded.spans["answer"][:-1])), tokens)


def _intervention_variants(
    spec: FlowSpec,
    intervention: AttentionKnockout | MeanAblation | Ablation,
    windows: Sequence[Window],
    example: Example,
    encoded: Encoded,
    causal: bool,
) -> Iterator[Planned]:
    changes = [intervention.on(encoded.spans, window) for window in windows]
    if causal and not isinstance(changes[0], ZeroedBranch) and min(changes[0].keys) > max(changes[0].queries):
        # Nothing would change, which reads like a connection that does not matter.
        source, _, target = pair_of(intervention.text).partition("->")
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
    rows = _ints(encoded.spans["question"]) or last
    for window in windows:
        yield Planned(Variant("noise", (BlockedAttention(window, rows, ()),)), "noise", window, {})


def _map(spec: FlowSpec, index: int, example: Example, encoded: Encoded, layers: int) -> Coalitions | None:
    """The coalitions of the patches of one of the first images; None behind them, and without an image."""
    parts = super_patches(encoded.layouts, spec.patch_size) if index < spec.patches else []
    if not parts:
        return None
    key, window = (spec.seed, example.id), Window(0, layers, layers // 2)
    return coalitions(parts, encoded, window, permutations=spec.shapley, key=key, boxes=bool(example.boxes))


def _coalition_variants(found: Coalitions, window: Window) -> Iterator[Planned]:
    """Each patch hidden alone has rows in the table `patches`; all values are read together (`Coalitions.values`)."""
    for number, variant in enumerate(found.variants):
        alone = number < len(found.parts)
        columns = found.parts[number].columns if alone else {}
        yield Planned(variant, "patches" if alone else "coalitions", window, columns)


Cut = BlockedAttention | ZeroedBranch | AveragedKeys
"""What a named intervention does to an example."""

ChangeIn = Callable[[Window], Cut]


def random_controls(
    change: Cut, length: int, draws: int, key: tuple[int, str, str]
) -> Iterator[tuple[str, int, ChangeIn]]:
    """(control, sample, change in a window) beside `change`, the same positions for every window.

    Where the complement holds as many keys, the size-matched control draws from it; the complement is what every
    target row can see, without the cut's own keys, the target rows, and the first position, which models use as an
    attention sink. Where it is too small no size-matched control exists, and the dose control cuts a growing random
    share of the cut's own keys instead, each share containing the smaller ones. Beside a knockout without a
    size-matched control its keys are also averaged, which is not random.

    `key`: (seed, example, cut), so that the draw depends on nothing else.
    """
    own = np.array(change.positions if isinstance(change, ZeroedBranch) else change.keys)
    complement = _complement(change, own, length)
    for sample in range(draws):
        rng = np.random.default_rng([key[0], zlib.crc32(key[1].encode()), zlib.crc32(key[2].encode()), sample])
        if len(complement) >= len(own):
            yield SIZE_MATCHED, sample, _with(change, rng.choice(complement, len(own), replace=False))
            continue
        order = rng.permutation(own)
        # One key is its own mean.
        doses = [share for share in DOSES if not isinstance(change, AveragedKeys) or round(share * len(own)) > 1]
        for share in doses if len(own) >= FEWEST_DOSED else ():
            yield dose(share), sample, _with(change, order[: round(share * len(own))])
    if isinstance(change, BlockedAttention) and len(complement) < len(own) and _can_be_averaged(change):
        yield AVERAGED, 0, lambda window: AveragedKeys(window, change.queries, change.keys)


def _can_be_averaged(change: BlockedAttention) -> bool:
    return len(change.keys) > 1 and set(change.keys).isdisjoint(change.queries)


def _complement(change: Cut, own: np.ndarray, length: int) -> np.ndarray:
    """Positions that could be changed in place of `own`, ascending."""
    if not isinstance(change, ZeroedBranch):
        # A key after the first target row is hidden from that row, so cutting it would be a smaller change.
        return np.setdiff1d(np.arange(1, min(change.queries)), own)
    return np.setdiff1d(np.arange(1, length - 1), own)


def _with(change: Cut, positions: np.ndarray) -> ChangeIn:
    chosen = _ints(np.sort(positions))
    if isinstance(change, ZeroedBranch):
        return lambda window: ZeroedBranch(window, change.component, chosen)
    return lambda window: type(change)(window, change.queries, chosen)
