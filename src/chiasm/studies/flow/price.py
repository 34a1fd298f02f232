"""What a flow run takes, part by part, before it is run: the cuts asked for, and what stands beside them by default."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from chiasm.interventions import Change
from chiasm.studies.flow.plan import ExamplePlan, Planned

CUTS, BLANKED, SWAPPED = "the cuts", "the cuts on a blank image", "another example's input"
BASELINE, ROUNDED, LENS = "the cuts on random weights", "the cuts in float32", "the answer read at every layer"
NOOPS, MAPS, HEADS, MEANS = "no-ops", "maps of patches", "single heads", "mean states over examples"
KEPT, SEARCHED = "routes kept alone", "search of sufficient routes"
"""Parts of a run, as prices and times name them. All other variants of an example share the walk of the cuts, and its
time."""

_PARTS: Final = {
    "effects": CUTS,
    "controls": "controls in their walk",
    "noise": NOOPS,
    "": NOOPS,
    "patches": MAPS,
    "coalitions": MAPS,
    "keep_only": KEPT,
    "heads": HEADS,
    "heads_controls": "controls of single heads",
}


class RunPrice(NamedTuple):
    """Clean passes of one example, by part, at the least: rows that variants carry times layers they pass.

    Means over the examples, as some parts are those of the first ones alone. The pass that the cuts begin with is one
    of theirs. `examples`: how many there are. `decoding`: whether each is
    answered before, which takes a pass and one step for every token.
    """

    parts: dict[str, float]
    examples: int
    decoding: bool

    def __str__(self) -> str:
        each = ", ".join(f"{name} {passes:.1f}" for name, passes in self.parts.items())
        decoding = "; each is answered first, which takes a pass and a step for every token" if self.decoding else ""
        passes = sum(self.parts.values())
        return f"Price: {self.examples} examples, about {passes:.1f} clean passes each: {each}{decoding}."


def price(
    plan: ExamplePlan,
    layers: int,
    examples: int,
    *,
    decoding: bool,
    beside: Sequence[tuple[str, ExamplePlan]] = (),
    swapped: bool = False,
    means: int = 0,
    firsts: Mapping[str, int] | None = None,
) -> RunPrice:
    """The work ahead, from the plan of the first example. `beside`: other walks of each example, by what they are for;
    `swapped`: one of them is a plain pass with another example's image; `means`: plain passes whose states are
    averaged; `firsts`: of how many examples a part is, where not of all.
    """
    share = {name: min(1.0, count / examples) for name, count in (firsts or {}).items()}

    def passes(one: Planned, length: int) -> float:
        return share.get(_PARTS[one.table], 1.0) * _passes(one.variant.changes, length, layers)

    parts = {CUTS: 1.0}
    for one in plan.planned:
        name = _PARTS[one.table]
        parts[name] = parts.get(name, 0.0) + passes(one, plan.job.encoded.length)
    for name, other in beside:
        walk = 1 + sum(passes(one, other.job.encoded.length) for one in other.planned)
        parts[name] = share.get(name, 1.0) * walk
    if swapped:
        parts[SWAPPED] = 1.0
    if means:
        parts[MEANS] = float(means)
    return RunPrice(parts, examples, decoding)


def _passes(changes: Sequence[Change], length: int, layers: int) -> float:
    """A variant brings the rows from its first changed one on, from its first layer on, as in a causal decoder."""
    rows = length - min(min(change.rows) for change in changes)
    start = min(change.window.start for change in changes)
    return rows * (layers - start) / (length * layers)
