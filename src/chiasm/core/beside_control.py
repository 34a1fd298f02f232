"""An effect beside its control: the paired difference between them, and the claim about it."""

from dataclasses import dataclass, replace
from typing import Self

from chiasm.core.claims import Claim, Verdict, known
from chiasm.core.statistics.bands import Bands


@dataclass(frozen=True, slots=True)
class BesideControl:
    """What a control says of one column: its own mean, the paired difference with what bands say of it, and whether the
    effect goes beyond it. `inputs`: different ones behind the difference."""

    name: str
    mean: float
    difference: float
    low: float
    high: float
    p: float
    n: int
    inputs: int
    beyond: bool

    def claim(self, effect: Claim, kind: str, quantity: str) -> Claim:
        """The difference of an effect to this control: a condition of the effect, whose verdict it has if it holds."""
        held: Verdict = effect.verdict if effect.found and self.beyond else "not established"
        return replace(
            effect,
            kind=kind,
            quantity=quantity,
            effect=self.difference,
            low=known(self.low),
            high=known(self.high),
            p=known(self.p),
            control=self.name,
            control_effect=self.mean,
            n=self.n,
            inputs=self.inputs,
            verdict=held,
        )

    @classmethod
    def of(cls, name: str, mean: float, bands: Bands, j: int, inputs: int, beyond: bool) -> Self:
        """Of column `j` of the bands of the differences; `mean`: what the control shows itself."""
        difference, low, high, p = (float(x[j]) for x in (bands.mean, bands.low, bands.high, bands.p))
        return cls(name, mean, difference, low, high, p, int(bands.n[j]), inputs, beyond)
