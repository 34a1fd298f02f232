"""What a control shows beside every effect of a sweep, and whether the effect goes beyond it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float

from chiasm.core.beside_control import BesideControl
from chiasm.core.statistics.bands import ALPHA, RESAMPLES, Bands, mean_bands
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.studies.flow.sweep import Sweep, sweep


class Tests(NamedTuple):
    """A few columns, each judged on its own as one of `count` tests, where a skewed one would widen all intervals."""

    count: int

    @property
    def options(self) -> dict[str, Any]:
        """How `mean_bands` is asked."""
        return {"simultaneous": False, "tests": self.count, "resamples": 5 * RESAMPLES + 4}


@dataclass(frozen=True, slots=True)
class NullEffect(BesideControl):
    """What one control says about one effect. `reach`: how far one more model with random weights may go, by `models`
    of them; None for other controls.
    """

    reach: float | None = None
    models: int = 0


@dataclass(frozen=True, slots=True)
class ControlEffects:
    """One control of all columns: its mean effect, the paired difference to the cut, and the range of random models.

    `reach`: how far another model with random weights may go at any layer of the cut, by the 95 % prediction interval
    over the `models` there are; None for other controls. `inputs`: different ones behind the difference, by column.
    """

    name: str
    mean: Float[np.ndarray, " k"]
    difference: Bands | None
    order: Mapping[int, int]
    n: Float[np.ndarray, " k"]
    reach: Float[np.ndarray, " k"] | None = None
    models: int = 0
    inputs: tuple[int, ...] = ()

    def counts(self, k: int, n: int) -> bool:
        """Whether it stands beside at least half of the examples: which have a control is no accident."""
        return k in self.order and 2 * self.n[k] >= n

    def at(self, k: int, effect: float) -> NullEffect:
        assert self.difference is not None
        j, of = self.order[k], self.difference
        difference, p = float(of.mean[j]), float(of.p[j])
        reach = None if self.reach is None else float(self.reach[k])
        mean = float(self.mean[k])
        # A control that shows as much or more speaks for no difference in the effect's direction, however sure it is.
        further = np.sign(difference) == np.sign(effect) and abs(effect) > (abs(mean) if reach is None else reach)
        beyond = bool(further) and not np.isnan(p) and p <= ALPHA
        found = NullEffect.of(self.name, mean, of, j, self.inputs[k], beyond)
        return replace(found, reach=reach, models=self.models)


def control_effects(
    data: Sweep,
    controls: pl.DataFrame,
    name: str,
    error: float,
    seed: int,
    *,
    within: Callable[[str], str] = lambda cut: cut,
    together: bool = False,
    tests: Tests | None = None,
) -> ControlEffects:
    """What the control called `name` shows in every column of `data`, and the paired difference to each of its effects.

    `error`: the smallest standard error that counts (nat), see `mean_bands`. `within`: the name that cuts share among
    which an effect may be picked; each cut's own by default. `together`: the bound on one more random model holds for
    all of these names at once. `tests`: how many are made, where not all hold at once.
    """
    rows = controls.filter(pl.col("control") == name)
    other = sweep(rows, data.columns)
    row = {example: i for i, example in enumerate(other.examples)}
    values, present = np.zeros_like(data.values), np.zeros_like(data.present)
    for i, example in enumerate(data.examples):
        if example in row:
            values[i], present[i] = other.values[row[example]], other.present[row[example]]
    present &= data.present
    n = present.sum(axis=0)
    mean = np.where(n > 0, np.where(present, values, 0).sum(axis=0) / np.maximum(n, 1), 0.0)
    chosen = np.flatnonzero(n > 0)
    if not len(chosen):
        return ControlEffects(name, mean, None, {}, n)
    bands = mean_bands(
        np.where(present, data.values - values, 0)[:, chosen],
        clusters=data.inputs,
        present=present[:, chosen],
        smallest_error=error,
        seed=seed,
        **({} if tests is None else tests.options),
    )
    order = {int(c): j for j, c in enumerate(chosen)}
    models = rows["sample"].n_unique() if name == RANDOM_WEIGHTS else 0
    reach = _reach(rows, data.columns, within, together) if models > 1 else None
    behind = tuple(len(set(np.array(data.inputs)[column])) for column in present.T)
    return ControlEffects(name, mean, bands, order, n, reach, models, behind)


def _reach(
    rows: pl.DataFrame, columns: Sequence[tuple[str, int, int, int]], within: Callable[[str], str], together: bool
) -> Float[np.ndarray, " k"]:
    """How far the mean effect of a cut in one more model with random weights may lie from 0, at whichever layer.

    A 95 % prediction interval of the largest mean effect over a cut's layers, over the models there are: layers are
    picked by their effect, and in which one a random model does most differs from model to model. Every model was run
    on other examples, so their spread includes that of examples. `together`: Bonferroni over the names that cuts share.
    """
    from scipy.special import stdtrit  # slow to import, and what only words claims does without

    models = []
    for sample in sorted(rows["sample"].unique()):
        one = sweep(rows.filter(pl.col("sample") == sample), columns)
        n = one.present.sum(axis=0)
        models.append(np.where(n > 0, np.abs(one.values.sum(axis=0)) / np.maximum(n, 1), np.nan))
    means, reach = np.array(models), np.zeros(len(columns))
    cuts = np.array([within(cut) for cut, *_ in columns])
    level = ALPHA / 2 / (len(set(cuts)) if together else 1)
    for cut in dict.fromkeys(cuts):
        own = means[:, cuts == cut]
        largest = np.nanmax(own[~np.isnan(own).all(axis=1)], axis=1, initial=0.0)
        count = len(largest)
        wider = stdtrit(count - 1, 1 - level) * largest.std(ddof=1) * np.sqrt(1 + 1 / count) if count > 1 else 0.0
        reach[cuts == cut] = (largest.mean() if count else 0.0) + wider
    return reach
