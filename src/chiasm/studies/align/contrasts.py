"""Contrasts of measured quantities, from the table `parts`: one interval and one test for all of a kind at once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import polars as pl

from chiasm.core.claims import Claim
from chiasm.core.column_claims import column_claim
from chiasm.core.statistics.bands import Bands, mean_bands, over_models
from chiasm.results.schemas import RANDOM_WEIGHTS

# A standard error below this share of the smallest effect worth naming counts as so much (see `mean_bands`).
_ERROR_SHARE = 0.1

Key = tuple[str, str, str, int | None]
"""Quantity, first span, second span, layer."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A quantity, or a sum of several: its value, what each part adds to it, and the fewest examples behind it."""

    value: float
    changes: Mapping[int, float]
    n: int

    def plus(self, other: "Measured", factor: float = 1.0) -> "Measured":
        """Itself and `factor` times another, part by part."""
        parts = dict.fromkeys([*self.changes, *other.changes])
        changes = {g: self.changes.get(g, 0.0) + factor * other.changes.get(g, 0.0) for g in parts}
        return Measured(self.value + factor * other.value, changes, min(self.n, other.n))


class Parts:
    """The quantities of one model on one set of examples."""

    def __init__(self, known: Mapping[Key, Measured]) -> None:
        self.known = known

    @classmethod
    def of(cls, frame: pl.DataFrame | None, **chosen: str) -> Self | None:
        """Those of a table `parts`, or of the rows in it that are `chosen`; None where there are none."""
        if frame is None:
            return None
        rows = frame.filter(**chosen) if chosen else frame
        found: dict[Key, Measured] = {}
        for (quantity, a, b, layer), own in rows.group_by(["quantity", "a", "b", "layer"], maintain_order=True):
            changes = dict(own.select("part", "change").iter_rows())
            found[str(quantity), str(a), str(b), layer] = Measured(own["value"][0], changes, int(own["n"].sum()))
        return cls(found) if found else None

    def layers(self, quantity: str, a: str, b: str = "") -> list[int]:
        """The layers at which a quantity was measured."""
        return sorted(k[3] for k in self.known if k[:3] == (quantity, a, b) and k[3] is not None)

    def pairs(self, quantity: str) -> list[tuple[str, str]]:
        """The spans of which a quantity was measured."""
        return list(dict.fromkeys((a, b) for name, a, b, _ in self.known if name == quantity))

    def sum(self, terms: "Terms") -> Measured | None:
        """A weighted sum of quantities; None where one of them is not there."""
        total = Measured(0.0, {}, 2**62)
        for factor, key in terms:
            if key not in self.known:
                return None
            total = total.plus(self.known[key], factor)
        return total


Terms = tuple[tuple[float, Key], ...]


@dataclass(frozen=True, slots=True)
class Contrast:
    """What one claim is about. `terms`: the quantities that are added up, each with its factor.

    `control`, `control_terms`: what the contrast itself compares with, where that is a control (shuffled norms).
    `suffices`: whether that could show the same, so that no other control is needed.
    """

    about: str
    where: str
    terms: Terms
    control: str | None = None
    control_terms: Terms = ()
    suffices: bool = True


@dataclass(frozen=True, slots=True)
class Judge:
    """How contrasts are judged: those of `own` beyond the same of every one of `nulls`, on the examples of both.

    `same`: the quantities of `own` on the examples that the nulls were run on. `inputs`: how many different inputs
    examples ask about: of all of them, or of those with controls. `further`: more models of the kind of a null: what
    the null shows is then their mean, and the difference from it has the wider of two intervals, over inputs, and over
    one more such model (a 95 % prediction interval), and the larger of their p-values.
    """

    own: Parts
    same: Parts | None
    nulls: Mapping[str, Parts]
    inputs: Callable[[bool], int | None]
    seed: int = 0
    further: Mapping[str, Sequence[Parts]] = field(default_factory=dict)

    def claims(
        self,
        kind: str,
        contrasts: Sequence[Contrast],
        *,
        quantity: str,
        unit: str,
        smallest: float,
        without: Sequence[str] = (),
    ) -> list[Claim]:
        """One claim for each contrast whose quantities were measured; intervals and p-values hold for all at once.

        Interval and p are of the contrast against 0. Behind them, of the kind `...-control`, how far each differs from
        the same of each null on the same examples, with interval and p of that difference, for all contrasts with one
        null at once; a contrast goes beyond a null where that is established in its direction. `without`: nulls that
        keep what is measured, and so are none here.
        """
        found = [(c, measured) for c in contrasts if (measured := self.own.sum(c.terms)) is not None]
        if not found:
            return []
        error = _ERROR_SHARE * smallest
        bands = bands_of([measured for _, measured in found], smallest_error=error, seed=self.seed)
        chosen, less = [c for c, _ in found], f"{quantity}, less that of the control"
        shared = {"quantity": less, "unit": unit, "smallest": smallest}
        beside = [
            dict(self._differences(f"{kind}-control", chosen, [name], **shared))
            for name in self.nulls
            if name not in without
        ]
        claims = [
            self._claim(kind, quantity, unit, smallest, c, bands, k, [of[c] for of in beside if c in of])
            for k, c in enumerate(chosen)
        ]
        return claims + [of[c] for c in chosen for of in beside if c in of]

    def against(
        self,
        kind: str,
        contrasts: Sequence[Contrast],
        names: Sequence[str],
        *,
        quantity: str,
        unit: str,
        smallest: float,
    ) -> list[Claim]:
        """How far each contrast differs from the same of the controls `names`, on the same examples."""
        shared = {"quantity": quantity, "unit": unit, "smallest": smallest}
        return [claim for _, claim in self._differences(kind, contrasts, names, **shared)]

    def _differences(
        self, kind: str, contrasts: Sequence[Contrast], names: Sequence[str], *, quantity: str, unit: str,
        smallest: float,
    ) -> list[tuple[Contrast, Claim]]:  # fmt: skip
        found = []
        for c in contrasts:
            mine = None if self.same is None else self.same.sum(c.terms)
            for name in names:
                models = self._models(name, c.terms)
                if mine is not None and models:
                    null = mean_of(models)
                    found.append((c, name, null.value, mine.plus(null, -1.0), [x.value for x in models]))
        if not found:
            return []
        bands = bands_of([one[-2] for one in found], smallest_error=_ERROR_SHARE * smallest, seed=self.seed)
        each = np.full((max(len(one[-1]) for one in found), len(found)), np.nan)
        for k, (*_, values) in enumerate(found):
            each[: len(values), k] = values
        bands = over_models(bands, each, smallest=smallest)
        return [
            (c, column_claim(
                bands, k, kind=kind, about=c.about, where=c.where, quantity=quantity, unit=unit, smallest=smallest,
                inputs=self.inputs(True), control=name, control_effect=value, controlled=True,
            ))
            for k, (c, name, value, *_) in enumerate(found)
        ]  # fmt: skip

    def _models(self, name: str, terms: Terms) -> list[Measured]:
        """A contrast in each model of a control."""
        first = self.nulls[name].sum(terms) if name in self.nulls else None
        if first is None:
            return []
        return [first, *(one for parts in self.further.get(name, ()) if (one := parts.sum(terms)) is not None)]

    def _claim(
        self, kind: str, quantity: str, unit: str, smallest: float, c: Contrast, bands: Bands, k: int,
        beside: Sequence[Claim],
    ) -> Claim:  # fmt: skip
        """`beside`: the differences from each null, with whose verdicts this one must agree."""
        effect = float(bands.mean[k])
        control, control_effect = c.control, None
        controlled = True if c.control is not None and c.suffices else None
        if c.control is not None:
            value = self.own.sum(c.control_terms)
            control_effect = None if value is None else value.value
        if beside:
            # The control that leaves the least of the effect counts, and one that is not passed before all.
            worst = min(beside, key=lambda one: (passes(effect, one), one.effect * np.sign(effect)))
            control, control_effect = worst.control, worst.control_effect
            controlled = all(passes(effect, one) for one in beside)
        return column_claim(
            bands, k, kind=kind, about=c.about, where=c.where, quantity=quantity, unit=unit, smallest=smallest,
            inputs=self.inputs(False), control=control, control_effect=control_effect, controlled=controlled,
        )  # fmt: skip


def mean_of(models: Sequence[Measured]) -> Measured:
    """The mean of the same quantity in several models."""
    total = models[0]
    for one in models[1:]:
        total = total.plus(one)
    return Measured(total.value / len(models), {g: x / len(models) for g, x in total.changes.items()}, total.n)


def scores_of_models(controls: pl.DataFrame, further: pl.DataFrame) -> pl.DataFrame:
    """The table `score_controls` with random weights as the mean over all such models, where `further` were read.

    Bounds reach over one more such model, as in the claims. Statistics that `further` lacks are left out.
    """
    rows = []
    for row in controls.iter_rows(named=True):
        chosen = {"quantity": row["name"], "a": row["a"], "b": row["b"]}
        others = further.filter(**chosen).unique("sample")["value"].to_list()
        if row["control"] == RANDOM_WEIGHTS and row["statistic"] != "mean_token":
            continue
        if row["control"] == RANDOM_WEIGHTS and others and row["low"] is not None:
            each = np.array([row["value"], *others])
            mean, zero = each.mean(keepdims=True), np.zeros(1)
            below, above = row["value"] - row["low"], row["high"] - row["value"]
            first = Bands(mean, mean - below, mean + above, zero, zero.astype(int), 0)
            wider = over_models(first, each[:, None])
            row |= {"value": float(mean[0]), "low": float(wider.low[0]), "high": float(wider.high[0])}
        rows.append(row)
    return pl.DataFrame(rows, schema=controls.schema)


def passes(effect: float, less: Claim) -> bool:
    """Whether an effect goes beyond a control in its own direction. `less`: the claim about it less that control."""
    return less.established and less.effect * effect > 0


def bands_of(quantities: Sequence[Measured], *, smallest_error: float, seed: int) -> Bands:
    """Values with intervals that hold for all of them at once; parts, which are groups of whole inputs, are drawn.

    `n` are examples. Assumption: parts are independent and alike in size; a quantity is close to linear in what a
    part adds to it.
    """
    parts = sorted({g for one in quantities for g in one.changes})
    changes = np.array([[one.changes.get(g, 0.0) for one in quantities] for g in parts]).reshape(len(parts), -1)
    values = np.array([one.value for one in quantities])
    # As many values as parts, whose mean is the quantity and whose deviations are what the parts add.
    spread = len(parts) * (changes - changes.mean(axis=0)) if parts else np.zeros((1, len(values)))
    bands = mean_bands(values + spread, smallest_error=smallest_error, seed=seed)
    return replace(bands, mean=values, n=np.array([one.n for one in quantities]))


def by_depth(claims: Sequence[Claim]) -> Iterator[tuple[str, list[Claim]]]:
    """The claims of one kind by what they are about, in their order."""
    for about in dict.fromkeys(claim.about for claim in claims):
        yield about, [claim for claim in claims if claim.about == about]
