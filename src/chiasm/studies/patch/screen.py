"""Attribution patching of a pair: what the gradient says of every token, and the tokens patched to check it."""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from chiasm.core.errors import ExampleError
from chiasm.interventions import Site
from chiasm.models.encoded import Encoded
from chiasm.models.executors.jobs import Executor, Job, StateReadout
from chiasm.models.inside.gradients import linear_effects
from chiasm.models.view import ModelView
from chiasm.studies.patch.plan import EncodedPair, SampledPatch
from chiasm.studies.patch.positions import Correspondence
from chiasm.studies.patch.tables import DENOISE, NOISE

SAMPLED: Final = 24
"""Patches of single tokens in each direction that are computed exactly: the larger half by the gradient, the others
drawn from all."""


class Screen(NamedTuple):
    """What the gradient says of a pair (nat, of the own answer in the run that is patched), by direction and site for
    every layer and row. `own`, `donor`: the positions of the rows in both runs."""

    own: Int[np.ndarray, " n"]
    donor: Int[np.ndarray, " n"]
    effects: Mapping[str, Mapping[Site, Float[np.ndarray, "L n"]]]

    def sample(self, direction: str, seed: int, name: str) -> list[SampledPatch]:
        """The single patches that are computed exactly; drawn by (seed, example, direction)."""
        sites = list(self.effects[direction])
        values = np.stack([self.effects[direction][site] for site in sites])
        # What is alike in both runs can do nothing, and says nothing about the gradient.
        there = np.flatnonzero(values)
        order = there[np.argsort(-np.abs(values.ravel()[there]), kind="stable")]
        largest, rest = order[: SAMPLED // 2], order[SAMPLED // 2 :]
        rng = np.random.default_rng([seed, zlib.crc32(f"{direction}/{name}".encode())])
        drawn = rng.choice(rest, min(len(rest), SAMPLED - len(largest)), replace=False)
        found = []
        for flat in [*largest, *np.sort(drawn)]:
            site, layer, row = np.unravel_index(flat, values.shape)
            found.append(SampledPatch(sites[site], int(layer), int(self.own[row]), int(self.donor[row])))
        return found


def screened(
    view: ModelView,
    executor: Executor,
    pair: EncodedPair,
    token: int,
    sites: Sequence[Site],
    directions: Sequence[str],
) -> Screen:
    """The gradient's word on every row that both runs have: a backward pass for each direction.

    **Errors:** `ExampleError` where a run gives no numbers; `ChiasmError` for models without gradients.
    """
    own, donor = Correspondence(pair.own, pair.donor).known(np.arange(pair.own.length))
    states = {}
    for name, run, rows in (("own", pair.own, own), ("donor", pair.donor, donor)):
        reads = tuple(StateReadout(site, tuple(rows.tolist()), site) for site in sites)
        [found] = executor.run(view, [Job(run, (), states=reads)])
        if isinstance(found, ExampleError):
            raise found
        states[name] = {site: found.states[site] for site in sites}
    of: dict[str, Mapping[Site, np.ndarray]] = {}
    for direction in directions:
        run, rows, given = (pair.own, own, "donor") if direction == NOISE else (pair.donor, donor, "own")
        of[direction] = linear_effects(view, run, token, states[given], rows)
    return Screen(own, donor, of)


def screen_rows(
    screen: Screen, encoded: Encoded, gap: float, least: float, exact: Mapping[tuple[str, str, int, int], float]
) -> Iterator[dict[str, Any]]:
    """The rows of the table `screen` but for what all rows of the pair have.

    `encoded`: the own run. `gap`: of the pair, of which shares are taken where it is at least `least`. `exact`: the
    share by an exact patch, by (direction, site, layer, own position).
    """
    parts = np.array([""] * encoded.length, dtype=object)
    for name, positions in encoded.spans.top_level().items():
        parts[positions] = name
    for direction, by_site in screen.effects.items():
        sign = 1.0 if direction == DENOISE else -1.0
        for site, values in by_site.items():
            for layer, row in np.argwhere(values):
                position = int(screen.own[row])
                share = None if gap < least else sign * float(values[layer, row]) / gap
                yield {
                    "site": site,
                    "part": parts[position],
                    "position": position,
                    "layer": int(layer),
                    "direction": direction,
                    "estimate": share,
                    "exact": exact.get((direction, site, int(layer), position)),
                }
