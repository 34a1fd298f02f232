"""Tables of a project run, made: how many answers are right in each setting, and what probes read where."""

import numpy as np
import polars as pl

from chiasm.results.tables import conform
from chiasm.studies.project.scores import scores
from chiasm.studies.project.tables import OWN, PREDICTIONS, PROBED, TUNING

CLASSES = ("a", "b", "c", "d")
N = 160


def answered(right, seed, n=N, invalid=0.0, noise=0.0, of=""):
    """Answers of which a share is right, the same images first; `noise`: seeds differ by so much of the images."""
    rng = np.random.default_rng(seed)
    order = np.random.default_rng(0).permutation(n)
    moved = np.random.default_rng([seed, *of.encode()]).normal(0, noise)
    known = set(order[: round((right + moved) * n)].tolist())
    wrong = [CLASSES[(k + int(rng.integers(1, 4))) % 4] if rng.random() >= invalid else None for k in range(n)]
    return [CLASSES[k % 4] if k in known else wrong[k] for k in range(n)]


def made(answers, probes=None, *, seeds=2, n=N, invalid=0.0, among=None, skill=None, noise=0.0):
    """`answers`: {setting: share right}; `probes`: {(setting, where, probe, control): share right}; `among`, `skill`:
    shares among the labels and of scenes by setting.
    """
    labels = [CLASSES[k % 4] for k in range(n)]
    tuning, predictions, probed = [], [], []
    for setting, right in answers.items():
        for seed in range(seeds):
            free = answered(right, seed, n, invalid, noise, setting)
            picked = answered((among or answers)[setting], seed, n)
            about = {"domain": "d", "setting": setting, "seed": seed, "projector": OWN}
            predictions += [
                about | {"example_id": f"{k:03}", "label": y, "generated": "?", "parsed": a, "constrained": c}
                for k, (y, a, c) in enumerate(zip(labels, free, picked, strict=True))
            ]
            row = about | scores(labels, free) | {"epochs": 1.0, "invalid_rate": free.count(None) / n}
            row |= {"constrained_macro_f1": 1.0, "constrained_accuracy": 1.0, "steps": 5, "loss": 1.0}
            row |= {"skill": (skill or {}).get(setting, 1.0), "skill_n": 60, "projector_drift": 0.1, "diverged": None}
            tuning.append(row)
    for (setting, where, probe, control), right in (probes or {}).items():
        for seed in range(seeds):
            about = {"domain": "d", "setting": setting, "seed": seed, "projector": OWN, "where": where, "probe": probe}
            pairs = enumerate(zip(labels, answered(right, seed, n, 0, noise), strict=True))
            probed += [
                about | {"control": control, "example_id": f"{k:03}", "label": y, "answer": a} for k, (y, a) in pairs
            ]
    tables: dict[str, pl.DataFrame] = {}
    if tuning:
        tables |= {"tuning": conform(TUNING, tuning), "predictions": conform(PREDICTIONS, predictions)}
    if probed:
        tables["probed"] = conform(PROBED, probed)
    return tables


def probes(post, *, shuffled=0.25, permuted=0.4, pre=0.9, last=(0.25, 0.5, 0.8), controls=True):
    """`post`: {setting: (line, MLP)} behind the projector, with their controls, and what is before and after it."""
    shares = {}
    for setting, (line, mlp) in post.items():
        for probe, right in (("linear", line), ("mlp-paper", mlp)):
            shares[setting, "post", probe, None] = right
            if controls:
                shares[setting, "post", probe, "shuffled"] = shuffled
        for where in ("cls", "pre"):
            shares[setting, where, "linear", None] = pre
            if controls:
                shares[setting, where, "linear", "shuffled"] = shuffled
        for state, right in enumerate(last):
            shares[setting, f"layer.{state}.image", "linear", None] = line - 0.1 * state
            shares[setting, f"layer.{state}.last", "linear", None] = right
            if controls:
                for span in ("image", "last"):
                    shares[setting, f"layer.{state}.{span}", "linear", "shuffled"] = shuffled
    if controls:
        shares |= {("zero-shot", "post", probe, "random-projector"): permuted for probe in ("linear", "mlp-paper")}
    return shares
