"""What several models side by side say: score and accuracy, training, cones, change and masks, with their intervals."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from chiasm.core.claims import Claim
from chiasm.core.spans import is_perceptual
from chiasm.core.statistics.correlation import relations
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.studies.align.claims import COSINE, change, cones, masks
from chiasm.studies.align.contrasts import Contrast, Judge, Key, Parts, Terms
from chiasm.studies.align.tables import SMALLEST
from chiasm.studies.compare.claims import MEAN_TOKEN, accuracy_claim, power_claim, relation_claim
from chiasm.studies.compare.tables import SMALLEST as SMALLEST_RELATION
from chiasm.studies.paper.spec import baselines_beside
from chiasm.studies.paper.tables import TOGETHER, TOGETHER_BASELINES

SCORES = ("ima_0", "ima_same")
VARIANTS = "variants"


def claims(tables: Mapping[str, pl.DataFrame], *, seed: int = 0, smallest: float | None = None) -> list[Claim]:
    """The claims of `chiasm paper`, from its tables alone: `paper_models`, and of `paper_score` and `paper_parts` what
    there is.

    Correlations are uncontrolled, and treat models as independent points, which variants and checkpoints are not. What
    is said of the first model stands beside its baseline with random weights.

    `smallest`: the smallest difference of cosines or overlaps worth naming.
    """
    models, least = tables["paper_models"], SMALLEST if smallest is None else smallest
    found = [accuracy_claim(row, row["model"], None) for row in models.iter_rows(named=True)]
    if "paper_score" in tables:
        found += _relations(tables["paper_score"].filter(statistic=MEAN_TOKEN), models, seed)
    parts = tables.get("paper_parts")
    if parts is None:
        return found
    found += _training(parts, models, least, seed)
    main = main_model(models)
    judge = _judge(parts, main, baselines(models).get(main), seed)
    if judge is not None:
        found += [*cones(judge, least), *change(judge, least)]
    together = _judge(parts, TOGETHER, TOGETHER_BASELINES, seed)
    if together is not None:
        found += [*_cones_together(together, least), *_masks_together(together, least)]
    elif judge is not None:
        found += masks(judge, least)
    return found


def main_model(models: pl.DataFrame) -> str:
    """The first model that has no random weights."""
    names = models["model"].to_list()
    return next((name for name in names if name not in _random(models)), names[0])


def _random(models: pl.DataFrame) -> list[str]:
    return models.filter("baseline")["model"].to_list() if "baseline" in models.columns else []


def baselines(models: pl.DataFrame) -> dict[str, str]:
    """The model with random weights that stands beside each other one."""
    return baselines_beside(_random(models), dict(models.select("model", "data").iter_rows()))


def groups(models: pl.DataFrame) -> dict[str, list[str]]:
    """Models put side by side: checkpoints of one run, and variants asked about what the first model was."""
    trained = models.filter(~pl.col("model").is_in(_random(models)))
    found: dict[str, list[str]] = {}
    for stem, _, members in checkpoints(models):
        found[f"checkpoints of {stem}"] = members
    data = models.filter(model=main_model(models))["data"][0]
    return found | {VARIANTS: trained.filter(pl.col("step").is_null(), data=data)["model"].to_list()}


def checkpoints(models: pl.DataFrame) -> list[tuple[str, list[int], list[str]]]:
    """Runs of which there are several checkpoints: name, steps and models, in the order of steps."""
    rows = models.filter(pl.col("step").is_not_null()).sort("step")
    found = []
    for (stem,), own in rows.group_by(["stem"], maintain_order=True):
        if own.height > 1:
            found.append((str(stem), own["step"].to_list(), own["model"].to_list()))
    return found


def _relations(scores: pl.DataFrame, models: pl.DataFrame, seed: int) -> list[Claim]:
    accuracy = dict(models.select("model", "accuracy").iter_rows())
    found, compared = [], groups(models)
    for group, members in compared.items():
        own = scores.filter(pl.col("model").is_in(members))
        columns, x = [], []
        for (name, a, b), rows in own.group_by(["name", "a", "b"], maintain_order=True):
            values = dict(rows.select("model", "value").iter_rows())
            if len(values) == len(members):
                columns.append(f"{name} of {a} and {b} with accuracy over {group}")
                x.append([values[model] for model in members])
        if not columns or len(members) < 2:
            continue
        y = np.array([[accuracy[model]] for model in members])
        pairs = [(k, 0) for k in range(len(columns))]
        related = relations(np.array(x).T, y, pairs, tests=len(compared), seed=seed)
        found += power_claim("power", group, related)
        found += [
            relation_claim("relation", about, one, SMALLEST_RELATION)
            for about, one in zip(columns, related, strict=True)
        ]
    return found


def _judge(parts: pl.DataFrame, model: str, baseline: str | None, seed: int) -> Judge | None:
    own = Parts.of(parts, model=model)
    random = None if baseline is None else Parts.of(parts, model=baseline)
    if own is None:
        return None
    return Judge(own, own, {} if random is None else {RANDOM_WEIGHTS: random}, lambda _: None, seed)


def _training(parts: pl.DataFrame, models: pl.DataFrame, least: float, seed: int) -> list[Claim]:
    """How the scores change from the first to the last checkpoint of a run, on the same examples."""
    contrasts, known = [], {}
    for stem, steps, members in checkpoints(models):
        first, last = (Parts.of(parts, model=members[k]) for k in (0, -1))
        if first is None or last is None:
            continue
        for name in SCORES:
            for a, b in last.pairs(name):
                keys = [(name, f"{model} {a}", b, None) for model in (members[0], members[-1])]
                for key, of in zip(keys, (first, last), strict=True):
                    if (name, a, b, None) in of.known:
                        known[key] = of.known[name, a, b, None]
                about = f"{name} of {a} and {b} through the training of {stem}"
                where = f"steps {steps[0]} to {steps[-1]}"
                terms = ((1.0, keys[1]), (-1.0, keys[0]))
                contrasts.append(Contrast(about, where, terms, f"step {steps[0]}", ((1.0, keys[0]),)))
    judge = Judge(Parts(known), None, {}, lambda _: None, seed)
    quantity = "difference of alignment scores, last checkpoint less first"
    return judge.claims("training", contrasts, quantity=quantity, unit="1", smallest=least)


def _cones_together(judge: Judge, least: float) -> list[Claim]:
    """Whether tokens of one kind in different data are nearer than the two kinds in one data set."""
    pairs = judge.own.pairs("others_raw")
    kinds: dict[str, list[tuple[str, str]]] = {"P": [], "T": [], "across": []}
    for a, b in pairs:
        one, other = (span.partition("[")[2] for span in (a, b))
        same = is_perceptual(a) == is_perceptual(b)
        if a != b and same != (one == other):
            kinds[("P" if is_perceptual(a) else "T") if same else "across"].append((a, b))
    if not all(kinds.values()):
        return []
    contrasts = [
        Contrast(words, str(layer), (*_mean(kinds[kind], layer, 1.0), *_mean(kinds["across"], layer, -1.0)))
        for kind, words in (("P", "perceptual tokens"), ("T", "text"))
        for layer in judge.own.layers("others_raw", *kinds["across"][0])
    ]
    quantity = f"{COSINE}: with the same kind in other data less with the other kind in the same data"
    return judge.claims("cone-together", contrasts, quantity=quantity, unit="1", smallest=least)


def _mean(pairs: Sequence[tuple[str, str]], layer: int | None, factor: float, quantity: str = "others_raw") -> Terms:
    share = factor / len(pairs)
    found: list[tuple[float, Key]] = [(share, (quantity, a, b, layer)) for a, b in pairs]
    return tuple(found)


def _masks_together(judge: Judge, least: float) -> list[Claim]:
    """Overlap of masks, mean over all pairs of spans and matrices, and how far beyond what needs no span."""
    pairs = judge.own.pairs("iou")
    if not pairs:
        return []
    names = ("iou", "iou_permuted", "iou_magnitude")

    def pooled(parts: Parts) -> Parts:
        means = {name: parts.sum(_mean(pairs, None, 1.0, name)) for name in names}
        return Parts({(name, "perceived", "text of all data", None): one for name, one in means.items() if one})

    own, nulls = pooled(judge.own), {name: pooled(parts) for name, parts in judge.nulls.items()}
    return masks(Judge(own, own, nulls, judge.inputs, judge.seed), least)
