"""Macro-F1 of answers and of probes: intervals over images, and paired differences."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from chiasm.core.statistics.intervals import Estimate, proportion_interval
from chiasm.results.series import bounded
from chiasm.studies.project.tables import OWN

_RESAMPLES = 1000
UNTUNED = "zero-shot"
LINE, MLP = "linear", "mlp-paper"

Runs = tuple[list[str], list[list[str | None]]]
"""Labels of test images, and the answers of every seed to them, in one order."""


def macro_f1(
    labels: Sequence[str], answers: Sequence[Sequence[str | None]], *, resamples: int = _RESAMPLES, seed: int = 0
) -> Estimate:
    """Mean over classes of 2 TP / (2 TP + FP + FN), meaned over the runs in `answers`, which share their images.

    The classes are those that occur in `labels`: a class without a test image has no recall. None answers no class,
    so it costs recall and no precision. Interval: 95 % percentile bootstrap over images, the same for all runs.
    Assumption: images are drawn independently. **Errors:** `ValueError` without images.
    """
    if not labels:
        raise ValueError("there are no images to score")
    return _interval(_resampled(labels, answers, resamples, seed), len(labels))


def difference(one: Runs, other: Runs) -> Estimate:
    """Macro-F1 of one less that of the other, each meaned over its seeds; 95 % paired bootstrap over images.

    Assumption: images are drawn independently; seeds are those that were run, not a sample of all.

    **Errors:** `ValueError` if their images differ.
    """
    if other[0] != one[0]:
        raise ValueError("the two were asked about different images")
    return _interval(_resampled(*one) - _resampled(*other), len(one[0]))


def sign_of(gap: Estimate | None) -> int:
    """1 or -1 where the interval lies on one side of 0, else 0."""
    return 0 if gap is None else int(gap.low > 0) - int(gap.high < 0)


def _interval(values: Float[np.ndarray, " r"], n: int) -> Estimate:
    low, high = np.percentile(values[1:], [2.5, 97.5])
    return Estimate(values[0], low, high, n)


def _resampled(
    labels: Sequence[str], answers: Sequence[Sequence[str | None]], resamples: int = _RESAMPLES, seed: int = 0
) -> Float[np.ndarray, " r"]:
    """Macro-F1 over the images as they are, then over every resample of them."""
    classes = {name: k for k, name in enumerate(sorted(set(labels)))}
    truth = np.array([classes[label] for label in labels])
    weights = _weights(len(truth), resamples, seed)
    runs = [np.array([-1 if answer is None else classes.get(answer, -1) for answer in run]) for run in answers]
    return np.mean([_f1(weights, truth, run, len(classes)) for run in runs], axis=0)


@lru_cache(maxsize=4)
def _weights(n: int, resamples: int, seed: int) -> Float[np.ndarray, "r n"]:
    """How often each image counts: once, then as in each resample. Equal numbers of images are drawn alike."""
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)
    return np.concatenate([np.ones((1, n)), drawn])


def _f1(
    weights: Float[np.ndarray, "r n"], truth: Int[np.ndarray, " n"], answers: Int[np.ndarray, " n"], count: int
) -> Float[np.ndarray, " r"]:
    of = truth[:, None] == np.arange(count)
    named = answers[:, None] == np.arange(count)
    true, there, given = weights @ (of & named), weights @ of, weights @ named
    with np.errstate(invalid="ignore", divide="ignore"):
        # A class that a resample does not hold says nothing about it.
        return np.nanmean(np.where(there > 0, 2 * true / (there + given), np.nan), axis=1)


def scores(labels: Sequence[str], answers: Sequence[str | None]) -> dict[str, float | int | None]:
    """The columns of one run's scores."""
    f1 = macro_f1(labels, [answers])
    right = proportion_interval(sum(a == b for a, b in zip(labels, answers, strict=True)), len(labels))
    return {**bounded("macro_f1", f1), **bounded("accuracy", right), "n": len(labels)}


def runs_of(rows: pl.DataFrame, answer: str = "parsed") -> Runs | None:
    """The answers in a column, seed by seed; None without rows. `rows`: one row per seed and image."""
    if not rows.height:
        return None
    runs = [part.sort("example_id") for part in rows.partition_by("seed", maintain_order=True)]
    return runs[0]["label"].to_list(), [run[answer].to_list() for run in runs]


def answers_of(predictions: pl.DataFrame, domain: str, setting: str, projector: str = OWN) -> Runs | None:
    """The model's free answers in a setting, or None where it was not run."""
    return runs_of(predictions.filter(domain=domain, setting=setting, projector=projector))


def score_of(predictions: pl.DataFrame, domain: str, setting: str, projector: str = OWN) -> Estimate | None:
    """Macro-F1 of a setting over its seeds, or None where it was not run."""
    runs = answers_of(predictions, domain, setting, projector)
    return None if runs is None else macro_f1(*runs)


@dataclass(frozen=True, slots=True)
class ProbeSite:
    """What a probe has read: a setting's states at a site, or a control of them."""

    setting: str
    where: str
    probe: str = LINE
    control: str | None = None


@dataclass(frozen=True, eq=False)
class ProbeAnswers:
    """The answers of the probes on one domain."""

    rows: pl.DataFrame

    @classmethod
    def of(cls, probed: pl.DataFrame, domain: str) -> "ProbeAnswers":
        """Those of the model's own projector."""
        return cls(probed.filter(domain=domain, projector=OWN))

    def runs(self, site: ProbeSite) -> Runs | None:
        """Labels and answers by seed; None where this was not probed."""
        own = self.rows.filter(setting=site.setting, where=site.where, probe=site.probe)
        controlled = pl.col("control").is_null() if site.control is None else pl.col("control") == site.control
        return runs_of(own.filter(controlled), "answer")

    def score(self, site: ProbeSite) -> Estimate | None:
        """Macro-F1 over seeds, with a bootstrap over images."""
        runs = self.runs(site)
        return None if runs is None else macro_f1(*runs)

    def gap(self, one: ProbeSite, other: ProbeSite) -> Estimate | None:
        """Macro-F1 at one site less that at the other, paired by image; None where either was not probed."""
        first, second = self.runs(one), self.runs(other)
        return None if first is None or second is None else difference(first, second)

    @property
    def probes(self) -> list[str]:
        """The probes that were trained."""
        return self.rows["probe"].unique(maintain_order=True).to_list()

    @property
    def states(self) -> list[int]:
        """The hidden states that were probed."""
        found = self.rows["where"].unique().str.extract(r"^layer\.(\d+)\.", 1).drop_nulls()
        return sorted({int(state) for state in found})
