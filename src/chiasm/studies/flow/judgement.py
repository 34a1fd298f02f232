"""At which layers a cut matters: tested against its control, corrected over layers and cuts."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float

from chiasm.core.statistics.intervals import runs_of_true, sign_flip_max_t
from chiasm.results.series import Curve, control_for, curve, matrix

ALPHA = 0.05
# Tests use the difference of probabilities, bounded in -1..1: a relative change has no upper bound, and one example
# whose probability was tiny could decide a test.
DIFFERENCE = pl.col("prob_cut") - pl.col("prob_clean")


@dataclass(frozen=True, slots=True)
class CutResult:
    """Where one cut matters. `ranges` are half-open layer ranges with a corrected p of at most `ALPHA`.

    `tested` examples have both the cut and its control; the curve is over all that have the cut.
    """

    cut: str
    control: str | None
    ranges: tuple[tuple[int, int], ...]
    curve: Curve
    corrected: Float[np.ndarray, " layers"]
    sign: Float[np.ndarray, " layers"]
    smallest: float
    tested: int

    @property
    def found(self) -> bool:
        return bool(self.ranges)

    @property
    def peak(self) -> int:
        """Index of the layer with the largest effect among those that matter (among all, if none does)."""
        inside = [i for a, b in self.ranges for i in range(a, b)] or range(len(self.curve.mean))
        return max(inside, key=lambda i: abs(self.curve.mean[i]))


def judge_cut(
    effects: pl.DataFrame, controls: pl.DataFrame | None, cut: str, *, noise: float = 0.0, cuts: int = 1, seed: int = 0
) -> CutResult:
    """Layers at which `cut` changes the probability, and further than its control does (`control_for`).

    Family-wise over layers by max-T, times the number of `cuts` looked at (Bonferroni). Layers whose mean change lies
    within the `noise` floor (%) are never named. Without a control, or examples shared with it, the test is against
    no change.
    """
    rows = effects.filter(pl.col("cut") == cut)
    change, tested = curve(rows), matrix(rows, DIFFERENCE)
    name = control_for(controls, cut)
    baseline, inputs = None, tested.inputs
    if controls is not None and name is not None:
        against = matrix(controls.filter((pl.col("cut") == cut) & (pl.col("control") == name)), DIFFERENCE)
        shared = sorted(set(tested.examples) & set(against.examples))
        name = name if shared and against.places.tolist() == tested.places.tolist() else None
    values = tested.values
    if name is not None:
        tested = tested.of(shared)
        values, baseline, inputs = tested.values, against.of(shared).values, tested.inputs
    result = sign_flip_max_t(values, baseline, seed=seed, clusters=inputs)
    p = result.p
    if baseline is not None:
        # A cut that does nothing beside a control that hurts differs from it too: both tests must say so.
        p = np.maximum(p, sign_flip_max_t(values, seed=seed, clusters=inputs).p)
    corrected = np.minimum(1, p * cuts)
    named = (corrected <= ALPHA) & (np.abs(change.mean) > noise) & (np.sign(change.mean) == np.sign(result.mean))
    # A range says "lowers" or "raises": neighbours of opposite sign are two ranges.
    ranges = [r for side in (-1, 1) for r in runs_of_true(named & (np.sign(change.mean) == side))]
    smallest = min(1.0, result.smallest * cuts)
    return CutResult(cut, name, tuple(sorted(ranges)), change, corrected, np.sign(change.mean), smallest, len(values))
