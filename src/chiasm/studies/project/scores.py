"""Macro-F1 with intervals, confusion, and the paper's tables in its own layout."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from chiasm.core.statistics.intervals import Estimate, proportion_interval
from chiasm.studies.project.tables import IMAGE_MLP, OWN, RANDOM, TOWER

_RESAMPLES = 1000
_ROWS = (
    ("Random (uniform)", RANDOM),
    ("Tower zero-shot", TOWER),
    ("Zero-shot", "zero-shot"),
    ("FT-Proj", "ft-proj"),
    ("FT-Proj, as released", "ft-proj-released"),
    ("FT-Proj, rate of FT-E2E", "ft-proj-lowlr"),
    ("FT-E2E", "ft-e2e"),
    ("FT-LoRA", "ft-lora"),
    ("FT-Tower", "ft-tower"),
)


def macro_f1(
    labels: Sequence[str], answers: Sequence[Sequence[str | None]], *, resamples: int = _RESAMPLES, seed: int = 0
) -> Estimate:
    """Mean over classes of 2 TP / (2 TP + FP + FN), meaned over the runs in `answers`, which share their pictures.

    The classes are those that occur in `labels`: a class without a test picture has no recall. None answers no class,
    so it costs recall and no precision. Interval: 95 % percentile bootstrap over pictures, the same for all runs.
    Assumption: pictures are drawn independently. **Errors:** `ValueError` without pictures.
    """
    classes = sorted(set(labels))
    if not classes:
        raise ValueError("there are no pictures to score")
    truth = np.array([classes.index(label) for label in labels])
    place = {name: k for k, name in enumerate(classes)}
    said = np.array([[place.get(a, -1) if a is not None else -1 for a in run] for run in answers])
    n = len(truth)
    weights = _weights(n, resamples, seed)
    values = np.mean([_f1(weights, truth, run, len(classes)) for run in said], axis=0)
    low, high = np.percentile(values[1:], [2.5, 97.5])
    return Estimate(values[0], low, high, n)


@lru_cache(maxsize=4)
def _weights(n: int, resamples: int, seed: int) -> Float[np.ndarray, "r n"]:
    """How often each picture counts: once, then as in each resample. Equal numbers of pictures are drawn alike."""
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)
    return np.concatenate([np.ones((1, n)), drawn])


def _f1(weights: Float[np.ndarray, "r n"], truth: Int[np.ndarray, " n"], said: Int[np.ndarray, " n"], count: int):  # noqa: ANN202
    of = truth[:, None] == np.arange(count)
    named = said[:, None] == np.arange(count)
    true, there, given = weights @ (of & named), weights @ of, weights @ named
    with np.errstate(invalid="ignore", divide="ignore"):
        # A class that a resample does not hold says nothing about it.
        return np.nanmean(np.where(there > 0, 2 * true / (there + given), np.nan), axis=1)


def scores(labels: Sequence[str], answers: Sequence[str | None], seed: int = 0) -> dict[str, float | int]:
    """The columns of one run's scores."""
    f1 = macro_f1(labels, [answers], seed=seed)
    right = proportion_interval(sum(a == b for a, b in zip(labels, answers, strict=True)), len(labels))
    return {
        "macro_f1": float(f1.mean),
        "macro_f1_low": float(f1.low),
        "macro_f1_high": float(f1.high),
        "accuracy": float(right.mean),
        "accuracy_low": float(right.low),
        "accuracy_high": float(right.high),
        "n": len(labels),
    }


def confusion(predictions: pl.DataFrame, domain: str, setting: str) -> pl.DataFrame:
    """Share of each class's pictures (rows) that was answered as each class, or as none, over all seeds."""
    own = predictions.filter(domain=domain, setting=setting, projector=OWN)
    counted = own.with_columns(pl.col("parsed").fill_null("(invalid)")).group_by("label", "parsed").len()
    wide = counted.pivot("parsed", index="label", values="len").fill_null(0).sort("label")
    names = sorted(name for name in wide.columns if name != "label")
    total = pl.sum_horizontal(names)
    return wide.select("label", *[(pl.col(name) / total).alias(name) for name in names])


def pooled(predictions: pl.DataFrame, domain: str, setting: str, projector: str = OWN) -> Estimate | None:
    """Macro-F1 of a setting over its seeds, or None where it was not run."""
    runs = _runs(predictions, domain, setting, projector)
    return None if runs is None else macro_f1(*runs)


def by_seed(tuning: pl.DataFrame, setting: str) -> str:
    """How many seeds, and between which macro-F1 they lie: intervals are over pictures and do not tell it."""
    found = tuning.filter(setting=setting)["macro_f1"].to_list()
    return "1 seed" if len(found) == 1 else f"{len(found)} seeds: {min(found):.3f} to {max(found):.3f}"


def table_one(tuning: pl.DataFrame, predictions: pl.DataFrame, references: pl.DataFrame) -> pl.DataFrame:
    """Verma et al. 2024, table 1: F1 and accuracy of every model by domain, means over seeds."""
    domains = tuning["domain"].unique(maintain_order=True).to_list()
    rows = []
    for title, name in _ROWS:
        row: dict[str, str] = {"model": title}
        for domain in domains:
            beside = references.filter(domain=domain, reference=name)
            own = tuning.filter(domain=domain, setting=name, projector=OWN)
            found = pooled(predictions, domain, name)
            if found is not None:
                row[f"{domain} F1"] = _told(float(found.mean), float(found.low), float(found.high))
                row[f"{domain} Acc"] = f"{own['accuracy'].mean():.4f}"
            elif beside.height:
                row[f"{domain} F1"] = _told(*(beside[c].mean() for c in ("macro_f1", "macro_f1_low", "macro_f1_high")))
                row[f"{domain} Acc"] = f"{beside['accuracy'].mean():.4f}"
        if len(row) > 1:
            rows.append(row)
    return pl.DataFrame(rows, infer_schema_length=None)


def table_two(tuning: pl.DataFrame, predictions: pl.DataFrame, richness: pl.DataFrame | None) -> pl.DataFrame:
    """Verma et al. 2024, table 2: the probe's F1 on the projector's output beside the model's F1, with changes in %.

    "Original" is the untouched model. Without `richness` the probe's columns are empty.
    """
    names = {"zero-shot": "Original"} | {name: title for title, name in _ROWS if name.startswith("ft-")}
    rows = []
    for domain in tuning["domain"].unique(maintain_order=True):
        base: tuple[float | None, float] | None = None
        for name, title in names.items():
            found = pooled(predictions, domain, name)
            if found is None:
                continue
            probe = _probe(richness, domain, name)
            if base is None:
                base = (probe, float(found.mean))
            rows.append(
                {
                    "task": domain,
                    "setting": title,
                    "probe F1": None if probe is None else f"{probe:.4f}",
                    "probe Δ%": _change(probe, base[0]) if title != "Original" else None,
                    "MLLM F1": _told(float(found.mean), float(found.low), float(found.high)),
                    "MLLM Δ%": _change(float(found.mean), base[1]) if title != "Original" else None,
                }
            )
    return pl.DataFrame(rows, infer_schema_length=None)


def table_three(references: pl.DataFrame) -> pl.DataFrame:
    """Verma et al. 2024, table 3: an MLP on the tower's image embedding, no language model."""
    own = references.filter(reference=IMAGE_MLP)
    rows = []
    for domain in own["domain"].unique(maintain_order=True):
        part = own.filter(domain=domain)
        told = _told(*(part[c].mean() for c in ("macro_f1", "macro_f1_low", "macro_f1_high")))
        rows.append({"task": domain, "F1": told, "Acc": f"{part['accuracy'].mean():.4f}"})
    return pl.DataFrame(rows, infer_schema_length=None)


def ordering(tuning: pl.DataFrame, predictions: pl.DataFrame, resamples: int = _RESAMPLES) -> list[dict[str, object]]:
    """Whether FT-E2E > FT-Proj > zero-shot in macro-F1, pair by pair, with paired intervals over pictures."""
    found: list[dict[str, object]] = []
    for domain in tuning["domain"].unique(maintain_order=True):
        for better, worse in (("ft-e2e", "ft-proj"), ("ft-proj", "zero-shot")):
            one, other = (_runs(predictions, domain, name) for name in (better, worse))
            if one is None or other is None:
                continue
            found.append({"domain": domain, "better": better, "worse": worse, **_bounds(one, other, resamples)})
    return found


def _bounds(one: "Runs", other: "Runs", resamples: int) -> dict[str, float]:
    gap = difference(one, other, resamples)
    return {"difference": float(gap.mean), "low": float(gap.low), "high": float(gap.high)}


Runs = tuple[list[str], list[list[str | None]]]
"""Labels of test pictures, and the answers of every seed to them, in one order."""


def runs_of(rows: pl.DataFrame, answer: str) -> Runs | None:
    """The answers in a column, seed by seed; None without rows. `rows`: one row per seed and picture."""
    if not rows.height:
        return None
    runs = [part.sort("example_id") for part in rows.partition_by("seed", maintain_order=True)]
    return runs[0]["label"].to_list(), [run[answer].to_list() for run in runs]


def _runs(predictions: pl.DataFrame, domain: str, setting: str, projector: str = OWN) -> Runs | None:
    return runs_of(predictions.filter(domain=domain, setting=setting, projector=projector), "parsed")


def difference(one: Runs, other: Runs, resamples: int = _RESAMPLES) -> Estimate:
    """Macro-F1 of one less that of the other, each meaned over its seeds; 95 % paired bootstrap over pictures.

    Assumption: pictures are drawn independently; seeds are those that were run, not a sample of all.

    **Errors:** `ValueError` if their pictures differ.
    """
    labels, n = one[0], len(one[0])
    if other[0] != labels:
        raise ValueError("the two were asked about different pictures")
    classes = sorted(set(labels))
    place = {name: k for k, name in enumerate(classes)}
    truth, weights = np.array([place[label] for label in labels]), _weights(n, resamples, 0)
    means = []
    for _, runs in (one, other):
        said = [np.array([place.get(a, -1) if a is not None else -1 for a in run]) for run in runs]
        means.append(np.mean([_f1(weights, truth, run, len(classes)) for run in said], axis=0))
    values = means[0] - means[1]
    low, high = np.percentile(values[1:], [2.5, 97.5])
    return Estimate(values[0], low, high, n)


def _probe(richness: pl.DataFrame | None, domain: str, setting: str) -> float | None:
    if richness is None:
        return None
    own = richness.filter(domain=domain, setting=setting, where="post", projector=OWN)
    if not own.height:
        return None
    probe = "mlp-paper" if "mlp-paper" in own["probe"] else own["probe"][0]
    return float(own.filter(probe=probe)["macro_f1"].mean())  # type: ignore[arg-type]


def _change(value: float | None, base: float | None) -> str | None:
    return None if value is None or not base else f"{100 * (value - base) / base:+.1f}"


def _told(value: float, low: float, high: float) -> str:
    return f"{value:.4f} ({low:.3f}-{high:.3f})"
