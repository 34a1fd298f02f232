"""Macro-F1 of answers and of probes: what was answered under which seed, and intervals over images and seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from chiasm.core.statistics.crossed import (
    Crossed,
    difference_interval,
    macro_f1_interval,
    macro_f1_parts,
    score_interval,
    share_parts,
)
from chiasm.core.statistics.intervals import Estimate, proportion_interval
from chiasm.results.series import bounded
from chiasm.studies.project.tables import OWN

UNTUNED = "zero-shot"
LINE, MLP = "linear", "mlp-paper"


@dataclass(frozen=True, eq=False)
class Runs:
    """Answers to the same images under every seed. `inputs`: which images are one input; None where all differ."""

    examples: tuple[str, ...]
    labels: tuple[str, ...]
    answers: Mapping[int, Sequence[str | None]]
    inputs: tuple[str, ...] | None = None

    @classmethod
    def of(cls, rows: pl.DataFrame, answer: str = "parsed") -> "Runs | None":
        """Those in the column `answer`; None without rows. `rows`: one row per seed and image."""
        if not rows.height:
            return None
        by_seed = {int(part["seed"][0]): part.sort("example_id") for part in rows.partition_by("seed")}
        first = by_seed[min(by_seed)]
        inputs = None
        if "input" in first.columns:
            inputs = tuple(first.select(pl.coalesce("input", "example_id")).to_series())
        answers = {seed: by_seed[seed][answer].to_list() for seed in sorted(by_seed)}
        return cls(tuple(first["example_id"]), tuple(first["label"]), answers, inputs)

    def under(self, seeds: Sequence[int]) -> "Runs":
        """The same under some of the seeds."""
        return Runs(self.examples, self.labels, {seed: self.answers[seed] for seed in seeds}, self.inputs)

    @cached_property
    def macro_f1(self) -> Crossed:
        return macro_f1_parts(self.labels, list(self.answers.values()), self.inputs)

    @cached_property
    def accuracy(self) -> Crossed:
        right = np.array([[a == b for a, b in zip(run, self.labels, strict=True)] for run in self.answers.values()])
        return share_parts(right.T.astype(np.float64), self.inputs)

    @property
    def n(self) -> int:
        """Answers: images times seeds."""
        return len(self.labels) * len(self.answers)


def paired(one: Runs, other: Runs, quantity: str = "macro_f1") -> Crossed:
    """A score of one less that of the other, image by image, under the seeds that both have.

    **Errors:** `ValueError` if their images differ, or they have no seed in common.
    """
    seeds = [seed for seed in one.answers if seed in other.answers]
    if one.examples != other.examples or one.labels != other.labels or not seeds:
        raise ValueError("the two were asked about different images, or under different seeds")
    return getattr(one.under(seeds), quantity) - getattr(other.under(seeds), quantity)


def difference(one: Runs, other: Runs) -> Estimate:
    """Macro-F1 of one less that of the other, paired, with a 95 % interval over images and seeds."""
    gap = paired(one, other)
    found = difference_interval(gap)
    return Estimate(np.array(found.mean), np.array(found.low), np.array(found.high), gap.n)


def scored(runs: Runs) -> Estimate:
    """Macro-F1, the mean over seeds, with a 95 % interval over images and seeds."""
    found = score_interval(runs.macro_f1)
    return Estimate(np.array(found.mean), np.array(found.low), np.array(found.high), runs.macro_f1.n)


def scores(labels: Sequence[str], answers: Sequence[str | None]) -> dict[str, float | int | None]:
    """The columns of one run's scores."""
    f1 = macro_f1_interval(labels, [answers])
    right = proportion_interval(sum(a == b for a, b in zip(labels, answers, strict=True)), len(labels))
    return {**bounded("macro_f1", f1), **bounded("accuracy", right), "n": len(labels)}


def answers_of(predictions: pl.DataFrame, domain: str, setting: str, projector: str = OWN) -> Runs | None:
    """The model's free answers in a setting, or None where it was not run."""
    return Runs.of(predictions.filter(domain=domain, setting=setting, projector=projector))


def score_of(predictions: pl.DataFrame, domain: str, setting: str, projector: str = OWN) -> Estimate | None:
    """Macro-F1 of a setting over its seeds, or None where it was not run."""
    runs = answers_of(predictions, domain, setting, projector)
    return None if runs is None else scored(runs)


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

    @cached_property
    def _parts(self) -> dict[tuple[str, str, str, str | None], pl.DataFrame]:
        parts = self.rows.partition_by("setting", "where", "probe", "control", as_dict=True)
        return {(str(a), str(b), str(c), None if d is None else str(d)): rows for (a, b, c, d), rows in parts.items()}

    def runs(self, site: ProbeSite) -> Runs | None:
        """Labels and answers by seed; None where this was not probed."""
        rows = self._parts.get((site.setting, site.where, site.probe, site.control))
        return None if rows is None else Runs.of(rows, "answer")

    def score(self, site: ProbeSite) -> Estimate | None:
        """Macro-F1 over seeds."""
        runs = self.runs(site)
        return None if runs is None else scored(runs)

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
