"""The effect of each of many changes (heads, words under a cut) against 0 and against its controls, as claims."""

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from chiasm.core.claims import Claim
from chiasm.core.statistics.bands import mean_bands
from chiasm.studies.flow.control_claims import beyond_claims, judged_beside
from chiasm.studies.flow.control_effects import Tests, control_effects
from chiasm.studies.flow.sweep import Sweep
from chiasm.studies.flow.tables import ERROR_SHARE


@dataclass(frozen=True, slots=True)
class Judging:
    """How effects of one kind are judged. `quantity`: what an effect is of; `free`: where one more model with random
    weights may do the most. `nulls`: controls that an effect has to go beyond. `within`: the name that changes share
    among which an effect may be picked. `least`: the smallest effect worth naming (nat). `together`: what such models
    may do is bounded for all changes at once.
    """

    kind: str
    quantity: str
    free: str
    nulls: tuple[str, ...]
    within: Callable[[str], str]
    least: float
    seed: int
    together: bool = False

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
            control_effects(
                data, controls, name, error, self.seed, within=self.within, together=self.together, tests=tests
            )
            for name in (() if controls is None else self.nulls)
        ]
        judged = judged_beside(data, bands, beside, kind=self.kind, quantity=self.quantity, least=self.least)
        found: list[Claim] = []
        for claim, _, nearest in judged:
            found.append(claim)
            differs = claim.low is not None and claim.high is not None and (claim.low > 0 or claim.high < 0)
            if nearest is not None and (tests is not None or differs):
                found += beyond_claims(claim, nearest, of=f"{self.kind}-", within=self.free)
        return found
