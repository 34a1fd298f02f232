"""From tables to the numbers behind figures and sentences: one row per example, then a mean and its spread."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float

from chiasm.core.statistics.bands import mean_bands
from chiasm.core.statistics.intervals import Estimate, share_interval

# Resamples behind every drawn band and every interval in a sentence.
RESAMPLES = 1999
# Of the largest standard error of a curve, what that of any of its places counts as at least: less is not seen.
_SEEN = 0.02


@dataclass(frozen=True, slots=True)
class Matrix:
    """One value per example and place. `examples` are sorted, `places` (layers, shares) ascend.

    `inputs`: the image (video, sound) of each example; those with the same one are no independent draws.
    """

    examples: tuple[str, ...]
    places: Float[np.ndarray, " k"]
    values: Float[np.ndarray, "n k"]
    inputs: tuple[str, ...]

    def of(self, examples: Sequence[str]) -> "Matrix":
        """The rows of `examples`, in their order."""
        at = [self.examples.index(example) for example in examples]
        return Matrix(tuple(examples), self.places, self.values[at], tuple(self.inputs[k] for k in at))


@dataclass(frozen=True, slots=True)
class Curve:
    """Mean over `n` examples at every place, with the bounds of 95 % intervals that hold for all places at once.

    So any place may be picked, the highest too. `inputs`: on how many different inputs (images, ...) the examples are;
    bounds are NaN where it is one.
    """

    places: Float[np.ndarray, " k"]
    mean: Float[np.ndarray, " k"]
    low: Float[np.ndarray, " k"]
    high: Float[np.ndarray, " k"]
    n: int
    inputs: int = -1

    def __post_init__(self) -> None:
        if self.inputs < 0:
            object.__setattr__(self, "inputs", self.n)

    def at(self, k: int) -> Estimate:
        """Mean and interval at the k-th place."""
        return Estimate(self.mean[k], self.low[k], self.high[k], self.n)


def matrix(frame: pl.DataFrame, value: str | pl.Expr = "change_percent", over: str = "layer") -> Matrix:
    """`value` by example and place; several rows of one example at one place (random draws, positions) are averaged.

    **Errors:** `ValueError` if windows of different extent share a place, or an example lacks a place that others have.
    """
    if {"start", "stop"} <= set(frame.columns):
        extents = frame.group_by(over).agg(pl.struct("start", "stop").n_unique().alias("extents"))
        if (extents["extents"] > 1).any():
            raise ValueError(f"several windows share one {over}: draw them as a map of windows, not as a curve")
    what = pl.col(value) if isinstance(value, str) else value
    means = frame.group_by("example_id", over).agg(what.cast(pl.Float64).mean().alias("value"))
    wide = means.pivot(on=over, index="example_id", values="value").sort("example_id")
    places = sorted((name for name in wide.columns if name != "example_id"), key=float)
    values = wide.select(places).to_numpy()
    if wide.select(pl.any_horizontal(pl.col(places).is_null()).any()).item():
        raise ValueError(f"some examples lack a {over} that others have: their means would not be comparable")
    examples = tuple(wide["example_id"])
    return Matrix(examples, np.array([float(p) for p in places]), values, _inputs(frame, examples))


def _inputs(frame: pl.DataFrame, examples: tuple[str, ...]) -> tuple[str, ...]:
    """The input of every example; an example whose input was not recorded stands for itself."""
    if "input" not in frame.columns:
        return examples
    known = dict(frame.select("example_id", pl.coalesce("input", "example_id")).unique().iter_rows())
    return tuple(known[example] for example in examples)


def with_inputs(frame: pl.DataFrame, examples: pl.DataFrame | None) -> pl.DataFrame:
    """`frame` with the column `input` of the table `examples`; as it is without that table, or where it has one."""
    if examples is None or "input" in frame.columns:
        return frame
    known = examples.select("example_id", "input").unique("example_id", keep="first", maintain_order=True)
    # The column alone is made: a join would copy all others.
    own = frame.select("example_id").join(known, on="example_id", how="left", maintain_order="left")["input"]
    return frame.with_columns(own)


def curve(frame: pl.DataFrame, value: str | pl.Expr = "change_percent", over: str = "layer") -> Curve:
    """Mean of `value` against `over` with intervals that hold for all of it at once, over the examples in `frame`.

    Where `value` is one of 0 and one other number, as right and wrong, the intervals are those of shares (Bonferroni
    over places). See `matrix` for what is averaged, `mean_bands` and `share_interval` for the intervals.
    """
    data = matrix(frame, value, over)
    examples, inputs = len(data.examples), len(set(data.inputs))
    size = float(np.abs(data.values).max())
    if size and np.isin(data.values, (0, size)).all():
        right = data.values == size
        shares = [share_interval(column, data.inputs, tests=len(data.places)) for column in right.T]
        mean, low, high = (size * np.array([getattr(one, name) for one in shares]) for name in ("mean", "low", "high"))
        return Curve(data.places, mean, low, high, examples, inputs)
    least = _SEEN * float(data.values.std(axis=0).max()) / np.sqrt(inputs)
    bands = mean_bands(data.values, clusters=data.inputs, smallest_error=least, resamples=RESAMPLES)
    return Curve(data.places, bands.mean, bands.low, bands.high, examples, inputs)


def of_type(frame: pl.DataFrame, type: str | None) -> pl.DataFrame:
    """The rows of one question type, or all."""
    return frame if type is None else frame.filter(pl.col("type") == type)


def in_order(frame: pl.DataFrame, column: str) -> list[str]:
    """The distinct values of a column in the order in which they first appear."""
    return frame[column].unique(maintain_order=True).to_list()


def guessed(eval: pl.DataFrame) -> pl.Series:
    """Where the most frequent labelled answer of each type (stripped, in lower case) would have been right.

    It is picked on the labels that it is judged by, which favours guessing.
    """
    plain = eval.select("type", answer=pl.col("answer").str.strip_chars().str.to_lowercase())
    counted = plain.group_by("type", "answer").len().sort("len", "answer", descending=[True, False])
    best = counted.unique("type", keep="first").select("type", best="answer")
    return plain.join(best, on="type", maintain_order="left").select(pl.col("answer") == pl.col("best")).to_series()


def majority(eval: pl.DataFrame) -> float:
    """The accuracy of always giving the most frequent labelled answer of each type."""
    return float(guessed(eval).cast(pl.Float64).mean() or 0.0)  # pyright: ignore[reportArgumentType]


def right_share(answers: pl.DataFrame) -> Estimate:
    """The share of right answers; questions on one input (column `input`, where there is one) count together."""
    return share_interval(answers["correct"].to_numpy(), inputs_of(answers))


def bounded(name: str, estimate: Estimate) -> dict[str, float | None]:
    """A mean and its bounds as the columns `name`, `name_low` and `name_high`; None where there is no interval."""
    low, high = (None if np.isnan(bound) else float(bound) for bound in (estimate.low, estimate.high))
    return {name: float(estimate.mean), f"{name}_low": low, f"{name}_high": high}


def inputs_of(rows: pl.DataFrame) -> list[str] | None:
    """The input of every row, where it was recorded."""
    if "input" not in rows.columns:
        return None
    return rows.select(pl.coalesce("input", "example_id")).to_series().to_list()
