"""Tables of `chiasm align` and `chiasm project` in which nothing is to be found, or no more than a control shows."""

import numpy as np
import polars as pl
from jaxtyping import Float

from bench.null_data import Tables
from chiasm.core.statistics.jackknife import GROUPS, group_of, means_without_each
from chiasm.measures.parts import part_rows
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.studies.align.tables import SAME_EXAMPLES
from chiasm.studies.project.tables import OWN, RANDOM_PROJECTOR, SHUFFLED

DEPTHS, SEEDS, CLASSES = 7, 3, 6
EFFECT = 0.1
SETTINGS = ("zero-shot", "ft-proj", "ft-e2e")


def align(images: int, each: int, rng: np.random.Generator) -> Tables:
    """Two spans that change alike at every depth, by cosines whose spread is that of `tiny`; without any control."""
    return {"score": no_score(), "parts": _parts(images, each, rng, 0.0)}


def align_beside(images: int, each: int, rng: np.random.Generator) -> Tables:
    """One span changes less at every depth, in the model as in a model with random weights."""
    own = _parts(images, each, rng, EFFECT)
    random = _parts(images, each, rng, EFFECT)
    names = ((SAME_EXAMPLES, own), (RANDOM_WEIGHTS, random))
    beside = pl.concat([rows.with_columns(control=pl.lit(name)) for name, rows in names])
    return {"score": no_score(), "parts": own, "parts_controls": beside}


def no_score() -> pl.DataFrame:
    """A table of scores without any."""
    return pl.DataFrame(
        schema={"name": pl.String, "statistic": pl.String, "value": pl.Float64, "low": pl.Float64, "high": pl.Float64}
        | {"n": pl.Int64, "a": pl.String, "b": pl.String}
    )


def _parts(images: int, each: int, rng: np.random.Generator, effect: float) -> pl.DataFrame:
    names = [f"i{k // each}" for k in range(images * each)]
    groups = [group_of(name) for name in names]
    rows = []

    def add(quantity: str, a: str, b: str, layer: int, values: Float[np.ndarray, " n"]) -> None:
        sums, counts = np.zeros(GROUPS), np.zeros(GROUPS)
        np.add.at(sums, groups, values)
        np.add.at(counts, groups, 1.0)
        rows.extend(part_rows(quantity, means_without_each(sums, counts), counts, a=a, b=b, layer=layer))

    add("paired_raw", "image", "question", 0, rng.normal(size=len(names)))
    for layer in range(DEPTHS):
        of_image = np.repeat(0.05 * rng.exponential(size=images), each)
        for span in ("image", "question"):
            own = np.repeat(0.05 * rng.exponential(size=images), each) + 0.02 * rng.normal(size=len(names))
            add("drift", span, "", layer, 0.8 - of_image - own + (effect if span == "image" else 0.0))
    return pl.DataFrame(rows, schema_overrides={"layer": pl.Int64})


def project(images: int, each: int, rng: np.random.Generator) -> Tables:
    """Settings that answer, and probes that read, as well as before tuning; their seeds differ by 3 points (sd)."""
    return _project(images, each, rng, 0.5)


def project_learnt(images: int, each: int, rng: np.random.Generator) -> Tables:
    """Settings that have learnt to answer, as well as probes read before and after."""
    return _project(images, each, rng, 0.1)


def _project(images: int, each: int, rng: np.random.Generator, untuned: float) -> Tables:
    n = images * each
    names = [f"e{k:04}" for k in range(n)]
    labels = np.array([f"c{k % CLASSES}" for k in range(n)])
    hard = np.repeat(rng.beta(2, 2, images), each)

    def answers(share: float) -> np.ndarray:
        at = np.clip(hard + share - 0.5 + rng.normal(0, 0.03), 0, 1)
        wrong = np.array([f"c{k}" for k in rng.integers(0, CLASSES, n)])
        return np.where(rng.random(n) < at, labels, wrong)

    tuning, predictions, probed, skills = [], [], [], []
    for setting in SETTINGS:
        for seed in range(SEEDS):
            about = {"domain": "d", "setting": setting, "seed": seed, "projector": OWN}
            tuning.append(about | {"skill": 0.9, "skill_n": n, "diverged": None})
            same = {name: pl.lit(value) for name, value in about.items()}
            shown = pl.DataFrame({"example_id": names, "label": labels}).with_columns(**same)
            share = untuned if setting == SETTINGS[0] else 0.5
            given = {name: pl.Series(answers(share)) for name in ("parsed", "constrained")}
            predictions.append(shown.with_columns(**given))
            right = rng.random(n) < np.clip(hard + 0.3, 0, 1)
            skills.append(
                pl.DataFrame(
                    {"example_id": names, "correct": right, "input": [f"i{k // each}" for k in range(n)]}
                ).with_columns(**same)
            )
            for where in ("post", "pre", "layer.1.last"):
                for control, share in ((None, 0.5), (SHUFFLED, 0.1), (RANDOM_PROJECTOR, 0.3)):
                    if control == RANDOM_PROJECTOR and (where != "post" or setting != "zero-shot"):
                        continue
                    extra = {"where": pl.lit(where), "probe": pl.lit("linear")}
                    extra |= {"control": pl.lit(control, pl.String), "answer": pl.Series(answers(share))}
                    probed.append(shown.with_columns(**extra))
    examples = pl.DataFrame({"example_id": names, "type": "t", "input": [f"i{k // each}" for k in range(n)]})
    made = pl.DataFrame(tuning, schema_overrides={"diverged": pl.Int64})
    kept = {"predictions": pl.concat(predictions), "probed": pl.concat(probed), "skills": pl.concat(skills)}
    return {"tuning": made, "examples": examples, **kept}
