"""Masks compared on the same examples, corrected for the number of comparisons."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float

from chiasm.core.statistics import Estimate, holm, mean_interval, sign_flip_max_t
from chiasm.results.judgement import ALPHA
from chiasm.results.series import RESAMPLES, in_order

LEVEL = ("sparsity", "pattern", "part")


class Level(NamedTuple):
    """Sparsity, pattern and part that masks are compared at."""

    sparsity: float
    pattern: str
    part: str

    def __str__(self) -> str:
        where = "" if self.part == "all" else f" of the {self.part} matrices"
        shape = "" if self.pattern == "unstructured" else f" in the pattern {self.pattern}"
        return f"{100 * self.sparsity:g} %{where}{shape}"


@dataclass(frozen=True, slots=True)
class Compared:
    """Mean difference in right answers (points of 100) between two masks on the same examples; `p` is corrected."""

    level: Level
    estimate: Estimate
    p: float

    @property
    def significant(self) -> bool:
        return self.p <= ALPHA

    def __str__(self) -> str:
        e = self.estimate
        spread = "no interval" if e.n == 1 else f"95 % interval {e.low:+.1f} to {e.high:+.1f}"
        return f"{float(e.mean):+.1f} points, {spread}, n = {e.n}"


class Answers:
    """Right answers by mask, aligned over examples."""

    def __init__(self, pruned: pl.DataFrame) -> None:
        self.rows = pruned

    def right(self, mask: str, calibration: str, level: Level | None) -> dict[str, float]:
        """100 or 0 for every example under a mask; of the dense model where there is no level."""
        chosen = (pl.col("mask") == mask) & (pl.col("calibration") == calibration)
        if level is not None:
            chosen &= (pl.col("pattern") == level.pattern) & (pl.col("part") == level.part)
            chosen &= (pl.col("sparsity") - level.sparsity).abs() < 1e-9
        rows = self.rows.filter(chosen)
        return dict(zip(rows["example_id"], 100.0 * rows["correct"].cast(pl.Float64), strict=True))

    @property
    def levels(self) -> list[Level]:
        """Where there is a Wanda mask, in the order asked."""
        wanda = self.rows.filter(pl.col("mask") == "wanda")
        return [Level(*row) for row in wanda.select(LEVEL).unique(maintain_order=True).rows()]

    @property
    def types(self) -> list[str]:
        """Question types that a mask was calibrated on."""
        calibrated = set(self.rows["calibration"])
        return [name for name in in_order(self.rows, "type") if name in calibrated]

    def own_and_others(self, level: Level) -> tuple[dict[str, float], dict[str, float]]:
        """Every example under the mask of its own type, and the mean over the masks of the other types."""
        by_mask = {name: self.right("wanda", name, level) for name in self.types}
        type_of = dict(self.rows.select("example_id", "type").unique().iter_rows())
        own, others = {}, {}
        for example, name in type_of.items():
            if name in by_mask and all(example in right for right in by_mask.values()):
                own[example] = by_mask[name][example]
                others[example] = float(np.mean([right[example] for n, right in by_mask.items() if n != name]))
        return own, others


def compare(pairs: list[tuple[Level, dict[str, float], dict[str, float]]], seed: int) -> list[Compared]:
    """Each pair (first minus second) on the examples that both masks answered; p-values by sign flips, Holm."""
    differences: list[tuple[Level, Float[np.ndarray, " n"]]] = []
    for level, first, second in pairs:
        shared = [example for example in first if example in second]
        if shared:
            differences.append((level, np.array([first[e] - second[e] for e in shared])))
    if not differences:
        return []
    p = holm(np.array([float(sign_flip_max_t(values[:, None], seed=seed).p[0]) for _, values in differences]))
    return [
        Compared(level, mean_interval(values, resamples=RESAMPLES, seed=seed), float(corrected))
        for (level, values), corrected in zip(differences, p, strict=True)
    ]
