"""Keep-only: every route between top-level spans closed but those named, and what is left of the answer."""

import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.core.example import Example
from chiasm.core.positions import Spans
from chiasm.interventions import BlockedAttention, Variant, Window
from chiasm.interventions.routes import Route, all_but, pairs_of, require_routes
from chiasm.models.encoded import Encoded
from chiasm.models.parts import LayerKind
from chiasm.models.view import ModelView
from chiasm.studies.flow.spec import FlowSpec
from chiasm.studies.flow.state_ablations import PlannedChange
from chiasm.studies.flow.tables import ALL, CLOSED, OPEN, RANDOM


def kept_variants(
    spec: FlowSpec, example: Example, spans: Spans, layers: int, *, causal: bool
) -> Iterator[PlannedChange]:
    """All routes closed but those of `--keep-only`; with controls as many random ones open, and none.

    **Errors:** `EmptySpanError` for a route that this example does not have.
    """
    routes = [Route.parse(text) for text in spec.routes]
    require_routes(routes, spans, causal=causal)
    kept = [one for route in routes for one in route.split()]
    sets: dict[str, list[Route]] = {OPEN: kept}
    if spec.controls:
        sets |= {RANDOM: _random(kept, spans, layers, spec.seed, example.id, causal=causal), CLOSED: []}
    window, last = Window(0, layers, layers // 2), (int(spans["last"][-1]),)
    for name, own in sets.items():
        changes = all_but(own, spans, layers, causal=causal) or (BlockedAttention(window, last, ()),)
        columns = {"routes": named(spec.routes), "open": name, "size": len(own), "half": ALL}
        yield PlannedChange(Variant(f"keep only {name}", changes), "keep_only", window, columns)


def named(routes: Sequence[str]) -> str:
    """A set of routes in one line."""
    return ", ".join(routes)


def _random(kept: Sequence[Route], spans: Spans, layers: int, seed: int, name: str, *, causal: bool) -> list[Route]:
    """As many routes in the same layers, drawn from all that the example has, by seed and example alone."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), zlib.crc32(b"keep-only")])
    pairs, drawn = pairs_of(spans, causal=causal), []
    for within in dict.fromkeys(one.layers for one in kept):
        count = sum(one.layers == within for one in kept)
        chosen = rng.choice(len(pairs), size=min(count, len(pairs)), replace=False)
        drawn += [Route(source, target, within) for source, target in (pairs[int(k)] for k in np.sort(chosen))]
    return drawn


def require_closable(asked: str, kinds: Sequence[LayerKind]) -> None:
    """**Errors:** `ChiasmError` where tokens are mixed without attention: no route can be closed there."""
    mixing = [str(k) for k, kind in enumerate(kinds) if kind == "token_mixer"]
    if mixing:
        found = f"layers {', '.join(mixing)} move information between positions without attention, open in any case"
        raise ChiasmError(asked, found, "Replace states instead: --cut ablate:mean@image works in every layer")


def checked_routes(spec: FlowSpec, view: ModelView, encoded: Encoded) -> None:
    """**Errors:** `ChiasmError` for routes in layers that the model has not, or that `encoded` shows to be none."""
    asked = f"keep open only {named(spec.routes)}"
    require_closable(asked, view.kinds)
    routes = [Route.parse(text) for text in spec.routes]
    for route in routes:
        route.within(view.n_layers)
    there = {name for pair in pairs_of(encoded.spans, causal=False) for name in pair}
    known = [route for one in routes for route in one.split() if {route.source, route.target} <= there]
    try:
        require_routes(known, encoded.spans, causal=view.family.causal)
    except ExampleError as error:
        raise ChiasmError(asked, str(error), "Name it the other way round") from None
