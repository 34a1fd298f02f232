"""From answers under masks to the scores of masks, and masks compared on the same examples."""

from collections.abc import Iterable
from itertools import permutations
from math import factorial
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from chiasm.core.statistics.bands import ALPHA
from chiasm.core.statistics.intervals import ratio_bounds
from chiasm.results.series import bounded, in_order, inputs_of, right_share

KEYS = ("mask", "calibration", "sparsity", "pattern", "part")
LEVEL = KEYS[2:]
_WHOLE = 7  # types of which all permutations are tried


def mask_rows(
    pruned: pl.DataFrame, keys: tuple[str, ...] = KEYS, max_loss: float | None = None
) -> list[dict[str, Any]]:
    """Rows of the table `masks`: every mask on every question type, and on `all` where there are several types.

    Questions on one input (column `input`, where there is one) count together. `max_loss`: the loss allowed (of 1).
    """
    rows = []
    for values, answers in pruned.group_by(keys, maintain_order=True):
        types = answers["type"].unique().sort().to_list()
        groups = {name: answers.filter(pl.col("type") == name) for name in types}
        if len(types) > 1:
            groups["all"] = answers
        for evaluation, rated in groups.items():
            score = bounded("score", right_share(rated))
            bounds = {"low": score.pop("score_low"), "high": score.pop("score_high")}
            found = {"evaluation": evaluation, **score, **bounds, **perplexity(rated), "n": rated.height}
            found["max_loss"] = max_loss
            rows.append(dict(zip(keys, values, strict=True)) | found)
    return rows


def perplexity(rated: pl.DataFrame) -> dict[str, float | None]:
    """exp(-sum of log-probabilities / sum of tokens); bounds from resampled inputs, none for a single one."""
    sums = rated.select(-pl.col("logprob"), pl.col("tokens").cast(pl.Float64)).to_numpy()
    total = sums.sum(axis=0)
    found: dict[str, float | None] = {"perplexity": _exp(total[0] / total[1])}
    inputs = inputs_of(rated)
    if len(sums) == 1 or (inputs is not None and len(set(inputs)) == 1):
        return found | {"perplexity_low": None, "perplexity_high": None}
    low, high = ratio_bounds(sums, clusters=inputs)
    return found | {"perplexity_low": _exp(np.maximum(low, 0.0)), "perplexity_high": _exp(high)}


def _exp(nats: float) -> float | None:
    if np.isnan(nats):
        return None  # so few inputs that too many resamples have no spread
    # Past e^700 a float64 overflows; a pruned model may be that sure of the wrong.
    return float(np.exp(min(nats, 700.0)))


class Level(NamedTuple):
    """Sparsity, pattern and part that masks are compared at."""

    sparsity: float
    pattern: str
    part: str

    def __str__(self) -> str:
        where = "" if self.part == "all" else f" of the {self.part} matrices"
        shape = "" if self.pattern == "unstructured" else f" in the pattern {self.pattern}"
        return f"{100 * self.sparsity:g} %{where}{shape}"


class Answers:
    """Right answers by mask, aligned over examples."""

    def __init__(self, pruned: pl.DataFrame) -> None:
        self.rows = pruned
        inputs = inputs_of(pruned)
        self._inputs = dict(zip(pruned["example_id"], inputs, strict=True)) if inputs else {}

    def inputs_of(self, examples: Iterable[str]) -> list[str]:
        """The input that each of the examples asks about; itself where none was recorded."""
        return [self._inputs.get(example, example) for example in examples]

    def under(self, mask: str, calibration: str, level: Level | None) -> pl.DataFrame:
        """The answers under a mask; of the dense model where there is no level."""
        rows = self.rows.filter(mask=mask, calibration=calibration)
        if level is None:
            return rows
        same = (pl.col("sparsity") - level.sparsity).abs() < 1e-9
        return rows.filter(same, pattern=level.pattern, part=level.part)

    def right(self, mask: str, calibration: str, level: Level | None) -> dict[str, float]:
        """100 or 0 for every example under a mask; of the dense model where there is no level."""
        rows = self.under(mask, calibration, level)
        return dict(zip(rows["example_id"], 100.0 * rows["correct"].cast(pl.Float64), strict=True))

    @property
    def levels(self) -> list[Level]:
        """Where there is a Wanda mask, in the order asked; a mask that zeroes nothing is the untouched model itself."""
        wanda = self.rows.filter(pl.col("mask") == "wanda", pl.col("sparsity") > 0)
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

    def pairing(self, level: Level, seed: int, tests: int = 1) -> "Pairing":
        """The masks of types, handed to the types at random: do they differ as much from each other's as they do now?

        All permutations of the masks where there are at most 5040, else as many drawn. Examples say whether these masks
        differ, this whether what they were calibrated on is why. `tests`: so many levels are asked about (Bonferroni).
        Assumption: were it not, any mask could be any type's.
        """
        types = self.types
        by_mask = {name: self.right("wanda", name, level) for name in types}
        right, n = np.zeros((len(types), len(types))), 0
        for example, name in self.rows.select("example_id", "type").unique().iter_rows():
            if name in by_mask and all(example in own for own in by_mask.values()):
                right[:, types.index(name)] += [by_mask[mask][example] for mask in types]
                n += 1
        places = np.arange(len(types))
        if len(types) <= _WHOLE:
            orders = np.array(list(permutations(places)))
        else:
            rng = np.random.default_rng(seed)
            orders = np.stack([places, *(rng.permutation(places) for _ in range(factorial(_WHOLE) - 1))])
        own = right[orders, places].sum(axis=1)
        # Own answers, less the mean of the other masks'.
        differences = np.abs(own - (right.sum() - own) / (len(types) - 1)) / max(n, 1)
        differences = np.round(differences, 9)
        tail = (differences[None] >= np.unique(differences)[:, None]).mean(axis=1)
        reach = np.unique(differences)[tests * tail > ALPHA].max()
        return Pairing(min(1.0, tests * float((differences >= differences[0]).mean())), float(reach))


class Pairing(NamedTuple):
    """`p`: the share of pairings that differ as much as the real one, corrected. `reach`: what they differ by in points

    as long as p is above 0.05.
    """

    p: float
    reach: float
