"""Bootstrap intervals of means over examples that are never all in memory."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from chiasm.core.statistics.intervals import Estimate
from chiasm.core.statistics.jackknife import priority

RESAMPLES = 1000


class Bootstrap:
    """Resampled means of a stream, whose parts add up in any order: what is kept does not grow with the examples.

    In every resample an example counts Poisson(1) times, drawn by the name of what it is drawn with, so that questions
    on one picture come and go together and no order or shard matters. Percentiles of the resampled means.

    Source: the Poisson bootstrap of Hanley & MacGibbon 2006 (Computer Methods and Programs in Biomedicine 83);
    percentiles: Efron & Tibshirani 1993, chapter 13. Assumption: units are drawn independently, and are some tens.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.sums: dict[str, Float[np.ndarray, "R columns"]] = {}

    def add(self, key: str, units: Sequence[str], values: Float[np.ndarray, "n *columns"]) -> None:
        """Add one value per example."""
        flat = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
        # Beside the columns: how many examples, and the same of their units' names, to tell whether there are two.
        marks = np.array([priority(unit, 0) % 2**40 for unit in units], dtype=np.float64)
        columns = np.concatenate([flat, np.ones((len(flat), 1))], axis=1)
        drawn = np.stack([weights(unit, self.seed) for unit in units], axis=1)
        whole = np.concatenate([columns.sum(axis=0), [marks.sum(), (marks**2).sum()]])
        found = np.concatenate([whole[None], np.pad(drawn @ columns, ((0, 0), (0, 2)))])
        self.sums[key] = self.sums[key] + found if key in self.sums else found

    def merge(self, other: "Bootstrap") -> None:
        """Add what another one has taken in."""
        for key, value in other.sums.items():
            self.sums[key] = self.sums[key] + value if key in self.sums else value.copy()

    def estimate(self, key: str, shape: tuple[int, ...]) -> Estimate:
        """Mean, 95 % interval and n of the values of `shape`; NaN bounds where all examples are of one unit."""
        sums = self.sums[key]
        n = int(sums[0, -3])
        mean = (sums[0, :-3] / n).reshape(shape)
        counts = sums[1:, -3]
        # Marks without spread: one unit. The tolerance is far below what two different names give.
        if n * sums[0, -1] - sums[0, -2] ** 2 <= 1e-9 * sums[0, -2] ** 2 or n == 1:
            return Estimate(mean, np.full(shape, np.nan), np.full(shape, np.nan), n)
        drawn = sums[1:][counts > 0]
        low, high = np.percentile(drawn[:, :-3] / drawn[:, -3:-2], [2.5, 97.5], axis=0)
        return Estimate(mean, low.reshape(shape), high.reshape(shape), n)

    def state(self) -> dict[str, np.ndarray]:
        """All that was taken in, as arrays by name."""
        return {f"bootstrap:{key}": value for key, value in self.sums.items()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Take up what `state` gave."""
        self.sums = {k.removeprefix("bootstrap:"): np.array(v) for k, v in state.items() if k.startswith("bootstrap:")}


def weights(unit: str, seed: int) -> Int[np.ndarray, " R"]:
    """How often a unit counts in each resample."""
    return np.random.default_rng([seed, priority(unit, seed)]).poisson(1.0, RESAMPLES)
