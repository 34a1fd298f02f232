"""Which variants of an example change single heads, each with its controls.

Beside a cut in a head stands the cut of as many random keys in that head; beside each change the same in another head
of its layer. Where all heads of a layer are changed one by one, the others are there already; where some were named,
one of the rest is drawn.
"""

import logging
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from chiasm.core.errors import EmptySpanError
from chiasm.core.example import Example
from chiasm.interventions import (
    BlockedAttention,
    HeadIntervention,
    HeadSet,
    Variant,
    Window,
    ZeroedHeads,
    head_sets,
)
from chiasm.models.conformance.heads import HeadAnatomy, head_anatomy
from chiasm.models.encoded import Encoded
from chiasm.models.view import ModelView
from chiasm.studies.flow.plan import Planned, random_controls
from chiasm.studies.flow.spec import FlowSpec
from chiasm.studies.flow.tables import OTHER_HEADS, SIZE_MATCHED
from chiasm.studies.inputs import first_prepared

_log = logging.getLogger("chiasm")

_NO_HEADS = HeadAnatomy(0, 0, ())


@dataclass(frozen=True, slots=True)
class HeadSweep:
    """Changes of single heads, in which heads each, and the layers that have such heads. Empty where none are asked."""

    changes: tuple[tuple[HeadIntervention, tuple[HeadSet, ...]], ...] = ()
    anatomy: HeadAnatomy = _NO_HEADS

    @classmethod
    def of(cls, changes: Sequence[HeadIntervention], anatomy: HeadAnatomy) -> "HeadSweep":
        """The sweep of `changes` on a model.

        **Errors:** `ChiasmError` for a head that is not there.
        """
        sets = tuple((change, head_sets(change, anatomy.heads, anatomy.groups)) for change in changes)
        return cls(sets, anatomy)

    @property
    def left_out(self) -> str:
        """Why some layers are not swept; empty where all are."""
        return f"single heads: {self.anatomy.left_out}" if self.changes and self.anatomy.left_out else ""


def planned_heads(
    sweep: HeadSweep, encoded: Encoded, *, controls: bool, draws: int, key: tuple[int, str], causal: bool = True
) -> Iterator[Planned]:
    """All variants of one example that change single heads, in one layer each.

    `draws`: of every random control; `key`: (seed, example), so that draws depend on nothing else. `causal`: no token
    attends to a later one. A change whose spans the example does not have is left out, as the cut of all heads is.
    """
    for change, sets in sweep.changes:
        try:
            first = change.on(encoded.spans, 0, ())
        except EmptySpanError:
            continue
        if causal and isinstance(first, BlockedAttention) and min(first.keys) > max(first.queries):
            continue
        columns = {"cut": change.text, "kind": change.kind}
        for layer, one in product(sweep.anatomy.layers, sets):
            yield _planned(change.on(encoded.spans, layer, one.heads), "heads", columns, one, one.heads)
        if controls and isinstance(first, BlockedAttention):
            yield from _size_matched(sweep, change, sets, first, encoded, draws, key)
        if controls:
            yield from _in_other_heads(sweep, change, sets, encoded, draws, key)


def _size_matched(
    sweep: HeadSweep,
    change: HeadIntervention,
    sets: Sequence[HeadSet],
    first: BlockedAttention,
    encoded: Encoded,
    draws: int,
    key: tuple[int, str],
) -> Iterator[Planned]:
    """As many random keys cut in the same heads, the same ones in every layer; none where there are too few."""
    prompt = int(encoded.spans["last"][-1]) + 1
    for control, sample, keys_in in random_controls(first, prompt, draws, (*key, change.text)):
        random = keys_in(first.window)
        if control != SIZE_MATCHED or not isinstance(random, BlockedAttention):
            continue
        columns = {"cut": change.text, "kind": change.kind, "control": control, "sample": sample}
        for layer, one in product(sweep.anatomy.layers, sets):
            cut = BlockedAttention(Window(layer, layer + 1, layer), random.queries, random.keys, one.heads)
            yield _planned(cut, "heads_controls", columns, one, one.heads)


def _in_other_heads(
    sweep: HeadSweep,
    change: HeadIntervention,
    sets: Sequence[HeadSet],
    encoded: Encoded,
    draws: int,
    key: tuple[int, str],
) -> Iterator[Planned]:
    """The same change in a head of the layer that was not asked about, drawn anew beside every one that was."""
    asked = {head for one in sets for head in one.heads}
    rest = np.setdiff1d(np.arange(sweep.anatomy.heads), sorted(asked))
    for sample in range(draws if len(rest) else 0):
        rng = np.random.default_rng([key[0], zlib.crc32(key[1].encode()), zlib.crc32(change.text.encode()), sample])
        columns = {"cut": change.text, "kind": change.kind, "control": OTHER_HEADS, "sample": sample}
        for layer, one in product(sweep.anatomy.layers, sets):
            other = (int(rng.choice(rest)),)
            yield _planned(change.on(encoded.spans, layer, other), "heads_controls", columns, one, other)


def _planned(
    change: BlockedAttention | ZeroedHeads, table: str, columns: dict[str, Any], beside: HeadSet, heads: tuple[int, ...]
) -> Planned:
    """One variant; its rows are those of the head `beside` which it stands, which is the head of the change itself but
    for a control in another one."""
    named = {"head": beside.number, "heads": str(HeadSet(beside.number, heads))}
    return Planned(Variant(columns["cut"], (change,)), table, change.window, columns | named)


def head_sweep(spec: FlowSpec, view: ModelView, examples: Sequence[Example]) -> HeadSweep:
    """What is done to single heads; which layers have heads that can be told apart is measured on the first example.

    **Errors:** `ChiasmError` where no layer has, or for a head that is not there.
    """
    changes = spec.head_interventions()
    if not changes:
        return HeadSweep()
    first = first_prepared(examples, lambda index, example: view.encode(example, instruction=spec.instruction))
    # Without one the run fails on its examples, each with its reason.
    return HeadSweep() if first is None else HeadSweep.of(changes, head_anatomy(view, first))


def heads_beside(heads: HeadSweep, baseline: ModelView) -> HeadSweep:
    """The same changes in a model with random weights: only one with the same heads is a control of single ones."""
    if heads.changes and baseline.n_heads != heads.anatomy.heads:
        _log.warning(
            "%s has %d heads, so it is no control of single heads among %d.",
            baseline.name,
            baseline.n_heads,
            heads.anatomy.heads,
        )
        return HeadSweep()
    return heads
