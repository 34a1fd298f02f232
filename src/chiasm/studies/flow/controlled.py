"""The effect of each of many changes (heads, words under a cut) against 0 and against its controls, as claims."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from chiasm.core.claims import Claim, Verdict, judged, known
from chiasm.core.statistics.bands import mean_bands
from chiasm.studies.flow.control_effects import NullEffect, Tests, control_effects
from chiasm.studies.flow.sweep import Sweep
from chiasm.studies.flow.tables import ERROR_SHARE


@dataclass(frozen=True, slots=True)
class Judging:
    """How effects of one kind are judged. `quantity`: what an effect is of; `reach`: what one more model with random
    weights may show. `nulls`: controls that an effect has to go beyond. `within`: the name that changes share among
    which an effect may be picked. `least`: the smallest effect worth naming (nat).
    """

    kind: str
    quantity: str
    reach: str
    nulls: tuple[str, ...]
    within: Callable[[str], str]
    least: float
    seed: int

    def claims(self, data: Sweep, controls: pl.DataFrame | None, *, tests: Tests | None = None) -> list[Claim]:
        """The effect of every column of `data`; of those that differ from 0, or of all where there are few `tests`,
        also the difference to the control that comes nearest.
        """
        error = ERROR_SHARE * self.least
        how = {} if tests is None else tests.options
        bands = mean_bands(
            data.values, clusters=data.inputs, present=data.present, smallest_error=error, seed=self.seed, **how
        )
        beside = [
            control_effects(data, controls, name, error, self.seed, within=self.within, tests=tests)
            for name in (() if controls is None else self.nulls)
        ]
        found: list[Claim] = []
        for k, (about, *_) in enumerate(data.columns):
            effect, low, high, p = (float(values[k]) for values in (bands.mean, bands.low, bands.high, bands.p))
            nulls = [one.at(k, effect) for one in beside if one.counts(k, int(bands.n[k]))]
            inputs = len(set(np.array(data.inputs)[data.present[:, k]]))
            worst = nearest(nulls, effect)
            controlled = None if worst is None else all(one.beyond for one in nulls)
            least = self.least
            own = Claim(
                kind=self.kind,
                about=about,
                where=data.where(k),
                quantity=self.quantity,
                unit="nat",
                effect=effect,
                low=known(low),
                high=known(high),
                p=known(p),
                control=None if worst is None else worst.name,
                control_effect=None if worst is None else worst.effect,
                n=int(bands.n[k]),
                inputs=inputs,
                verdict=judged(effect, low, high, smallest=least, p=known(p), controlled=controlled, inputs=inputs),
            )
            found.append(own)
            if worst is not None and (tests is not None or low > 0 or high < 0):
                found += self._beyond(own, worst)
        return found

    def _beyond(self, effect: Claim, control: NullEffect) -> list[Claim]:
        """The difference of an effect to its control, and how far one more random model may go, where that is the
        control.

        Both are conditions of the effect: it is the effect that is established or not.
        """
        verdict: Verdict = "established" if effect.established else "not established"
        difference = replace(
            effect,
            kind=f"{effect.kind}-beyond",
            quantity=f"{effect.quantity}, less that of the control",
            effect=control.difference,
            low=known(control.low),
            high=known(control.high),
            p=known(control.p),
            control=control.name,
            control_effect=control.effect,
            n=control.n,
            inputs=control.inputs,
            verdict=verdict,
        )
        if control.reach is None:
            return [difference]
        reach = replace(
            difference,
            kind=f"{effect.kind}-reach",
            quantity=self.reach,
            effect=control.reach,
            low=None,
            high=None,
            p=None,
            n=control.models,
            inputs=None,
            verdict="not established",
        )
        return [difference, reach]


def nearest(nulls: Sequence[NullEffect], effect: float) -> NullEffect | None:
    """The control that comes nearest to the effect, on its side of 0; None of none."""
    return max(nulls, key=lambda one: (not one.beyond, np.sign(effect) * one.effect), default=None)
