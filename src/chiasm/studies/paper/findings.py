"""What several models side by side show, in words: every number stands in a table of the run."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from chiasm.core.spans import is_perceptual
from chiasm.core.statistics.correlation import Correlation, correlate
from chiasm.core.statistics.intervals import holm
from chiasm.results.findings import Finding
from chiasm.results.wording import estimate
from chiasm.studies.align.findings import Frames, intervals_apart, mean_overlap
from chiasm.studies.compare.findings import ENOUGH, accuracy_of
from chiasm.studies.paper.tables import TOGETHER, TOGETHER_BASELINES


def paper_findings(
    tables: Frames, main: str, baseline: str | None, groups: Mapping[str, Sequence[str]]
) -> list[Finding]:
    """What is found, strongest first; always at least three."""
    found = [*_relation(tables, groups), _cones(tables, main, baseline)]
    found += [_weights(tables, baseline), _change(tables, main, baseline)]
    return sorted(found, key=lambda finding: -finding.strength)


def cosines(rows: pl.DataFrame, *, inside: bool = False) -> pl.DataFrame:
    """Cosines of mean tokens of `a` and `b`, over all pairs of examples, as published. `inside`: of blocks as well."""
    rows = rows if inside else rows.filter(tap="residual")
    return rows.filter(mode="avg", variant="raw", paired=False)


def between_kinds(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of `cosines` between a perceptual and a textual span."""
    a, b = (pl.col(name).map_elements(is_perceptual, pl.Boolean) for name in ("a", "b"))
    return rows.filter(a & ~b)


def _relation(tables: Frames, groups: Mapping[str, Sequence[str]]) -> list[Finding]:
    """Whether the score goes with accuracy, within each group of models."""
    found = []
    models = tables["paper_models"]
    scores = tables["paper_score"].filter(statistic="mean_token")
    every: dict[tuple[str, str], Correlation] = {}
    for group, members in groups.items():
        for name in ("ima_0", "ima_same"):
            rows = scores.filter(pl.col("model").is_in(list(members)), name=name)
            rows = rows.join(models, on="model", suffix="_model")
            if rows.height >= 2:
                every[group, name] = correlate(rows["value"].to_numpy(), rows["accuracy"].to_numpy())
    tested = [key for key, related in every.items() if not np.isnan(related.p)]
    corrected = dict(zip(tested, holm(np.array([every[key].p for key in tested])), strict=True)) if tested else {}
    for group, members in groups.items():
        parts, n = [], len(members)
        for (of, name), related in every.items():
            if of == group and (of, name) in corrected:
                p = corrected[of, name]
                shown = "established" if p <= 0.05 else "not established"
                parts.append(
                    f"{name}: Spearman {related.spearman:.2f}, p = {related.p:.2g} ({p:.2g} corrected for "
                    f"{len(tested)}), {shown}"
                )
            elif of == group:
                parts.append(f"{name} or accuracy is the same for all")
        smallest = max((related.smallest for (of, _), related in every.items() if of == group), default=1.0)
        if parts:
            least = f"; n = {n} models can give no p-value below {smallest:.2g}" if n < ENOUGH else ""
            found.append(Finding(f"Score and accuracy over {group} (n = {n}): {'; '.join(parts)}{least}.", 90.0))
        else:
            found.append(Finding(f"Over {group} nothing can be related: n = {n}.", 20.0))
    found += _training(scores, models)
    best = models.sort("accuracy", descending=True).row(0, named=True)
    worst = models.sort("accuracy").row(0, named=True)
    low, high = (f"{accuracy_of(row, row['n'])} in {row['model']}" for row in (worst, best))
    return [*found, Finding(f"Accuracy reaches from {low} to {high}.", 50.0)]


def _training(scores: pl.DataFrame, models: pl.DataFrame) -> list[Finding]:
    """Whether the score rises from the first to the last checkpoint of a run."""
    found = []
    rows = scores.join(models.filter(pl.col("step").is_not_null()), on="model", suffix="_model").sort("step")
    for stem in rows["stem"].unique(maintain_order=True):
        parts = []
        for name in ("ima_0", "ima_same"):
            own = rows.filter(stem=stem, name=name)
            if own.height < 2:
                continue
            first, last = own.row(0, named=True), own.row(-1, named=True)
            direction = "rises" if last["value"] > first["value"] else "falls"
            how = direction if intervals_apart(first, last) else "does not clearly change"
            values = f"{_value(first, 'value')} to {_value(last, 'value')}"
            parts.append(f"{name} {how}, {values}, from step {first['step']} to {last['step']}")
        if parts:
            found.append(Finding(f"Through the training of {stem}: {'; '.join(parts)} (n = {rows['n'].min()}).", 85.0))
    return found


def _cones(tables: Frames, main: str, baseline: str | None) -> Finding:
    """At how many depths kinds of tokens are nearer to their own kind in other data than to the other kind."""
    rows = cosines(tables["paper_similarity"]).filter(~pl.col("a").str.contains("half]", literal=True))
    own = rows.filter(model=TOGETHER)
    if own.height:
        kinds = {}
        for a, b, layer, mean in own.select("a", "b", "layer", "mean").iter_rows():
            one, other = (x.partition("[")[2] for x in (a, b))
            both = {is_perceptual(a), is_perceptual(b)}
            if a != b and (len(both) == 1) == (one != other):
                kind = "cross" if len(both) == 2 else "P" if is_perceptual(a) else "T"
                kinds.setdefault(layer, {}).setdefault(kind, []).append(mean)
        whole = [kind for kind in kinds.values() if len(kind) == 3]
        narrow = sum(min(np.mean(kind[x]) for x in ("P", "T")) > np.mean(kind["cross"]) for kind in whole)
        last = kinds[max(kinds)]
        n = own["n"].min()
        text = (
            f"Cones: at {narrow} of {len(kinds)} depths perceptual tokens of different modalities are nearer to each "
            f"other than to the text of their own data, and so is text to text; after the last block mean cosines are "
            f"{np.mean(last['P']):.2f} (P, P), {np.mean(last['T']):.2f} (T, T) and {np.mean(last['cross']):.2f} (P, T; "
            f"n = {n} examples or more; intervals in the figure)."
        )
        return Finding(text, 80.0)
    cross = between_kinds(rows).filter(pl.col("model").is_in([main, baseline or main]))
    last = cross.filter(layer=cross["layer"].max())
    values = ", ".join(f"{_value(row, 'mean')} in {row['model']}" for row in last.iter_rows(named=True))
    return Finding(f"After the last block the cosine of perceptual and textual mean tokens is {values}.", 60.0)


def _weights(tables: Frames, baseline: str | None) -> Finding:
    half = tables["paper_overlap"].filter(sparsity=0.5)
    name = TOGETHER if TOGETHER in set(half["model"]) else half["model"][0]
    rows = half.filter(model=name)
    mean = {c: float(rows[c].mean() or 0.0) for c in ("iou", "null_magnitude", "null_permuted", "null_random")}
    pairs = rows.select("a", "b").unique().height
    over = "all matrices" if pairs == 1 else f"all matrices and {pairs} pairs of spans"
    random = half.filter(model=TOGETHER_BASELINES if name == TOGETHER else baseline or "")
    beside = f", with random weights by {mean_overlap(random, over)}" if random.height else ""
    text = (
        f"Half of the weights, kept by Wanda for each span, overlap by {mean_overlap(rows, over)}{beside}; magnitude "
        f"alone accounts for {mean['null_magnitude']:.2f}, shuffled norms give {mean['null_permuted']:.2f}, chance "
        f"{mean['null_random']:.2f}"
    )
    ceiling = rows["ceiling"].drop_nulls()
    text += f", and one span's own halves {float(ceiling.mean() or 0.0):.2f}." if len(ceiling) else "."
    return Finding(text, 70.0)


def _change(tables: Frames, main: str, baseline: str | None) -> Finding:
    drift = tables["paper_drift"]
    first = drift.filter(gap=drift["gap"].min(), layer=0)
    parts = []
    for model in dict.fromkeys([main, baseline or main]):
        rows = first.filter(model=model)
        parts.append(f"{model} " + ", ".join(f"{r['span']} {_value(r, 'mean', 2)}" for r in rows.to_dicts()))
    text = "Through the first block tokens keep a cosine with themselves of: " + "; ".join(parts)
    return Finding(f"{text} (n = {first['n'].min()}).", 55.0)


def _value(row: Mapping, column: str, digits: int = 3) -> str:
    return estimate(row[column], row["low"], row["high"], digits=digits)
