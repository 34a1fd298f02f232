"""Which control a cut is judged against, and at which layers it matters: tested, corrected over layers and cuts."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float

from chiasm.core.statistics.intervals import ALPHA, runs_of_true, sign_flip_max_t
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.results.series import Curve, curve, matrix
from chiasm.studies.flow.tables import AUDIO_SWAP, IMAGE_SWAP, SIZE_MATCHED, VIDEO_SWAP, dose_share

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


def control_for(controls: pl.DataFrame | None, cut: str) -> str | None:
    """The control that a cut is judged against: the strictest there is, or None.

    As many random keys come first; where none can be drawn (whole-image cuts), the random-weights baseline. A dose is a
    part of the cut itself, and another example's image is all there is to lose: a scale, not what nothing looks like.
    Whether enough other keys exist differs between examples: a control that stands beside less than half as many as
    another one does is passed over.
    """
    if controls is None:
        return None
    counted = controls.filter(pl.col("cut") == cut).group_by("control").agg(pl.col("example_id").n_unique())
    beside = {name: n for name, n in counted.rows() if name in (SIZE_MATCHED, RANDOM_WEIGHTS)}
    enough = max(beside.values(), default=0) / 2
    return next((name for name in (SIZE_MATCHED, RANDOM_WEIGHTS) if beside.get(name, -1) >= enough), None)


def control_label(control: str) -> str:
    """The control in words."""
    share = dose_share(control)
    if share is not None:
        return f"{100 * share:g} % of the cut's keys, random"
    words = {
        SIZE_MATCHED: "as many random keys",
        IMAGE_SWAP: "another example's image, nothing cut",
        VIDEO_SWAP: "another example's video, nothing cut",
        AUDIO_SWAP: "another example's sound, nothing cut",
        RANDOM_WEIGHTS: "random-weights baseline",
    }
    return words.get(control, control)


def noise_floor(noise: pl.DataFrame) -> float:
    """The 95th percentile of |change in probability| (%) between two no-ops: what arithmetic alone does to an example.

    A mean over examples is known better than that; a curve inside the floor says nothing all the same.
    """
    return float(noise["change_percent"].abs().quantile(0.95, "linear") or 0.0) if noise.height else 0.0


def layers_of(effects: pl.DataFrame) -> int:
    """How many layers the swept model has: windows reach its last one."""
    return int(effects["stop"].max() or 0)


def style_of(effects: pl.DataFrame) -> str:
    """Whether windows grow from the first layer (`prefix`), end with the last (`suffix`), or move (`centred`)."""
    windows = effects.select("start", "stop").unique()
    if windows.height > 1 and (windows["start"] == 0).all():
        return "prefix"
    return "suffix" if windows.height > 1 and windows["stop"].n_unique() == 1 else "centred"
