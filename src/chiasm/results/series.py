"""From tables to the numbers behind figures and sentences: one row per example, then a mean and its spread."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float

from chiasm.core.statistics.intervals import Estimate, mean_interval, share_interval

# Resamples behind every drawn band and every interval in a sentence.
RESAMPLES = 2000


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
    """Mean over `n` examples at every place, with the bounds of the 95 % bootstrap interval.

    `inputs`: on how many different inputs (images, ...) the examples are; bounds are NaN where it is one.
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
    """`frame` with the column `input` of the table `examples`; as it is where a run has no such table."""
    if examples is None:
        return frame
    return frame.join(examples.select("example_id", "input"), on="example_id", how="left", maintain_order="left")


def curve(frame: pl.DataFrame, value: str | pl.Expr = "change_percent", over: str = "layer") -> Curve:
    """Mean and interval of `value` against `over`, over the examples in `frame` (see `matrix`)."""
    data = matrix(frame, value, over)
    estimate = mean_interval(data.values, resamples=RESAMPLES, clusters=data.inputs)
    return Curve(data.places, estimate.mean, estimate.low, estimate.high, estimate.n, len(set(data.inputs)))


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
