"""From contributions to plans: what to leave out first, beside what others leave out, beside chance."""

import logging
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from chiasm.core.errors import ChiasmError
from chiasm.core.statistics.intervals import runs_of_true
from chiasm.interventions.published_skips import (
    companion_layers,
    fast_v,
    parallel_blocks,
    parallel_sublayers,
    random_drop,
    short_v,
    v_skip,
    visual_ffn,
)
from chiasm.interventions.skips import PERCEPTUAL, ModelIdentity, Skip, SkipPlan, SkipSpan, phase_of
from chiasm.models.skipping.operations import prefill_operations
from chiasm.models.skipping.plans import require_fitting
from chiasm.models.view import ModelView
from chiasm.studies.skip.spec import STEPS, SkipSpec
from chiasm.studies.skip.tables import (
    COMPANION,
    FAST_V,
    NONE,
    RANDOM_DROP,
    RANDOM_LAYERS,
    SEARCH,
    SHORT_V,
    TEXT_FFN,
    V_SKIP,
    VISUAL_FFN,
)

SEARCHED = ("ffn", "attention")
_SHORT_V_SHARE = 0.6  # of the layers, as published for LLaVA-NeXT-13B
_log = logging.getLogger("chiasm")
Piece = tuple[str, int]  # part and layer


class Candidate(NamedTuple):
    """A plan to verify, and where it comes from."""

    plan: SkipPlan
    kind: str


def candidates(
    spec: SkipSpec,
    view: ModelView,
    identity: ModelIdentity,
    contributions: Mapping[Piece, float],
    inputs: Mapping[str, Any],
) -> list[Candidate]:
    """The plain model first, then the search's proposals with their random controls, then the published methods.

    `contributions`: loss (nat) of leaving out one part of one layer; `inputs`: a typical prompt, by which operations
    are counted. Proposals that leave out the same are one; a published method stands beside an equal proposal, and so
    does a random draw: without those that happen to be alike, draws would not stand for draws in general.
    """

    def named(name: str, *skips: Skip) -> SkipPlan:
        return SkipPlan(name=name, model=identity, skips=skips)

    found = [Candidate(named(NONE), NONE)]
    span = spec.skipped_span
    pieces = {piece: loss for piece, loss in contributions.items() if piece[0] in SEARCHED}
    saved = {piece: _saved(view, named("one", *as_skips([piece], span)), inputs) for piece in pieces}
    ranked = sorted(pieces, key=lambda piece: (pieces[piece] / max(saved[piece], 1), piece))
    plain = prefill_operations(view, inputs).total
    for own in _proposals(spec, ranked, pieces, saved, plain):
        left_out = sum(saved[piece] for piece in own)
        share = f"{100 * left_out / max(sum(saved.values()), 1):.0f}"
        if any(one.plan.name == f"{SEARCH}-{share}" for one in found):
            continue
        found.append(Candidate(named(f"{SEARCH}-{share}", *as_skips(own, span)), SEARCH))
        if spec.controls:
            for draw in range(spec.draws):
                name = f"random-{share}-{draw}"
                rng = np.random.default_rng([spec.seed, zlib.crc32(name.encode())])
                order = [ranked[k] for k in rng.permutation(len(ranked))]
                found.append(Candidate(named(name, *as_skips(_until(order, saved, left_out), span)), RANDOM_LAYERS))
    peers = _peers(view.n_layers, contributions, named, spec) if spec.peers else []
    return [*found, *(one for one in peers if _fits(view, one.plan))]


def as_skips(pieces: Iterable[Piece], span: SkipSpan = "image") -> tuple[Skip, ...]:
    """The skips that leave out `pieces`: where a layer loses both its parts, its block."""
    layers: dict[str, set[int]] = {part: {layer for p, layer in pieces if p == part} for part in SEARCHED}
    both = layers["ffn"] & layers["attention"]
    parts = {"ffn": layers["ffn"] - both, "attention": layers["attention"] - both, "block": both}
    return tuple(
        Skip(part=part, span=span, layers=tuple(sorted(where)), phase=phase_of(span))  # pyright: ignore[reportArgumentType]
        for part, where in parts.items()
        if where
    )


def in_words(plan: SkipPlan) -> str:
    """What a plan leaves out, for tables."""
    parts = []
    for skip in plan.skips:
        whose = f"{skip.span} tokens" if skip.share == 1 else f"{skip.share:.0%} of {skip.span} tokens ({skip.choice})"
        form = "" if skip.form == "corrected" else " (as released)"
        parts.append(f"{skip.part}{form} of {whose} in layers {_ranges(skip.layers)}")
    return "; ".join(parts) or "nothing"


def _peers(layers: int, contributions: Mapping[Piece, float], named: Any, spec: SkipSpec) -> list[Candidate]:
    """The published methods. Those about perceptual tokens act on the run's span, or on images where it is another."""
    own, every, found = spec.skipped_span, range(layers), list[Candidate]()
    span: SkipSpan = own if own in PERCEPTUAL else "image"
    every_second = companion_layers(layers, start=0, interval=2) if layers > 3 else ()
    both: tuple[tuple[str, SkipSpan, str], ...] = (("visual", span, VISUAL_FFN), ("text", "text", TEXT_FFN))
    for name, whose, kind in both:
        if every_second:
            found.append(Candidate(named(f"{name}-ffn-half", visual_ffn(every_second, span=whose)), kind))
        found.append(Candidate(named(f"{name}-ffn-all", visual_ffn(every, span=whose)), kind))
    found.append(Candidate(named("v-skip-deep", v_skip(range(layers // 2, layers), span=span)), V_SKIP))
    if every_second:
        blocks = Skip(part="block", span="all", layers=every_second, phase="both")
        found += [
            Candidate(named("blocks-half", blocks), COMPANION),
            Candidate(named("parallel-half", parallel_sublayers(every_second)), COMPANION),
            Candidate(named("parallel-blocks", parallel_blocks(layers, start=layers // 2)), COMPANION),
        ]
    frozen = sorted(every, key=lambda layer: contributions[("block", layer)])[: max(1, round(_SHORT_V_SHARE * layers))]
    if span == own:  # contributions of text do not say in which layers images can be frozen
        found.append(Candidate(named("short-v", short_v(sorted(frozen), span=span)), SHORT_V))
    draws = spec.draws if spec.controls else 1
    for index, share in enumerate((0.5, 0.75)):
        after = min(2, layers - 1)
        if after < 1:
            break
        ranked = fast_v(layers, after=after, share=share, span=span)
        found.append(Candidate(named(f"fast-v-{100 * share:.0f}", ranked), FAST_V))
        # The places that a seed drops are the same in every example, so that one draw would be one choice of places.
        # Other places at every share, so that all draws are independent.
        for draw in range(draws):
            seed = spec.seed + index * draws + draw
            dropped = random_drop(layers, after=after, share=share, seed=seed, span=span)
            found.append(Candidate(named(f"random-drop-{100 * share:.0f}-{draw}", dropped), RANDOM_DROP))
    return found


def _fits(view: ModelView, plan: SkipPlan) -> bool:
    """Whether the model can do it; what it cannot is logged and left out, as tokens dropped under sliding windows."""
    try:
        require_fitting(view, plan, same_weights=False)
    except ChiasmError as error:
        _log.warning("The published method `%s` is left out: %s.", plan.name, error.found)
        return False
    return True


def _saved(view: ModelView, plan: SkipPlan, inputs: Mapping[str, Any]) -> int:
    return prefill_operations(view, inputs).total - prefill_operations(view, inputs, plan).total


def _proposals(
    spec: SkipSpec, ranked: list[Piece], losses: Mapping[Piece, float], saved: Mapping[Piece, int], plain: int
) -> list[list[Piece]]:
    """The first pieces of `ranked` that meet every budget of operations, or cost what the loss allowed foretells."""
    if spec.budgets:
        found = []
        for budget in sorted(spec.budgets, reverse=True):
            found.append(_reaching(ranked, saved, (1 - budget) * plain))
            if plain - sum(saved[piece] for piece in found[-1]) > budget * plain:
                _log.warning("Leaving out all of the span's work takes more than %g of the operations.", budget)
        return found
    total = np.cumsum([max(losses[piece], 0.0) for piece in ranked])
    counts = [int((total <= step * float(spec.max_loss)).sum()) for step in STEPS]
    return [ranked[: max(count, 1)] for count in counts]


def _reaching(order: list[Piece], saved: Mapping[Piece, int], target: float) -> list[Piece]:
    """The fewest first pieces of `order` that together save `target` operations; all where all save less."""
    total = np.cumsum([saved[piece] for piece in order])
    return order[: int(np.searchsorted(total, target)) + 1]


def _until(order: list[Piece], saved: Mapping[Piece, int], target: float) -> list[Piece]:
    """The first pieces of `order` that together save about `target` operations."""
    total, taken = 0, []
    for piece in order:
        # Rather a little less than asked than a piece beyond it.
        if taken and total + saved[piece] / 2 > target:
            break
        taken.append(piece)
        total += saved[piece]
    return taken


def _ranges(layers: tuple[int, ...]) -> str:
    runs = runs_of_true(np.isin(np.arange(max(layers, default=-1) + 1), layers))
    return ", ".join(str(first) if stop == first + 1 else f"{first}-{stop - 1}" for first, stop in runs)
