"""Tables as a flow study writes them, with effects planted at known layers."""

import numpy as np
import polars as pl

from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.results.tables import conform
from chiasm.studies.flow.tables import CONTROLS, EFFECTS, IMAGE_SWAP, SIZE_MATCHED, dose

CUTS = (
    "question->last",
    "image->last",
    "last->last",
    "image->question",
    "image.object->question",
    "image.other->question",
)
TYPES = ("query", "choose", "compare")


def planted(cut: str, layers: int) -> np.ndarray:
    """Mean log-probability change by layer: two early dips for image->question, a late one into `last`, none else."""
    depth = (np.arange(layers) + 0.5) / layers
    dips = {
        "image->question": ((0.10, 0.08, 0.9), (0.45, 0.08, 0.5)),
        "image.other->question": ((0.10, 0.08, 0.6),),
        "image.object->question": ((0.45, 0.07, 0.55),),
        "question->last": ((0.62, 0.10, 0.7),),
        "image->last": ((0.55, 0.08, 0.08),),
    }.get(cut, ())
    return -sum((a * np.exp(-(((depth - m) / s) ** 2)) for m, s, a in dips), np.zeros(layers))


def _rows(cut, layers, window, examples, types, mean, spread, rng, **extra) -> pl.DataFrame:
    clean = np.log(rng.uniform(0.5, 0.99, examples))
    strength = rng.gamma(4, 0.25, examples)
    frames = []
    for centre in range(layers):
        change = strength * mean[centre] + rng.normal(0, spread, examples)
        cut_ = np.minimum(clean + change, -1e-4)
        frames.append(
            pl.DataFrame(
                {
                    "example_id": [f"q{i:04d}" for i in range(examples)],
                    "type": [types[i % len(types)] for i in range(examples)],
                    "cut": [cut] * examples,
                    "layer": centre,
                    "start": max(0, centre - window // 2),
                    "stop": min(layers, centre + (window + 1) // 2),
                    "target_token_id": 7,
                    "logprob_clean": clean,
                    "logprob_cut": cut_,
                    "prob_clean": np.exp(clean),
                    "prob_cut": np.exp(cut_),
                    "change_percent": 100 * np.expm1(cut_ - clean),
                    "top_token_id": 7,
                    "flipped": cut_ < np.log(0.4),
                    **extra,
                }
            )
        )
    return pl.concat(frames)


def effects(layers=8, cuts=CUTS[:3], examples=48, window=3, types=TYPES, seed=0, strength=1.0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    parts = [_rows(c, layers, window, examples, types, strength * planted(c, layers), 0.02, rng) for c in cuts]
    return conform(EFFECTS, pl.concat(parts))


def controls(layers=8, cuts=CUTS[:3], examples=48, window=3, types=TYPES, seed=1, samples=2) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    parts = []
    flat = np.zeros(layers)
    shape = (layers, window, examples, types)
    for cut in cuts:
        if cut.startswith("image->"):
            parts.append(_rows(cut, *shape, flat - 1.5, 0.15, rng, control=IMAGE_SWAP, sample=0))
            parts += [
                _rows(cut, *shape, s * planted(cut, layers), 0.03, rng, control=dose(s), sample=0)
                for s in (0.1, 0.25, 0.5, 0.75)
            ]
        else:
            parts += [
                _rows(cut, *shape, 0.1 * planted(cut, layers), 0.02, rng, control=SIZE_MATCHED, sample=k)
                for k in range(samples)
            ]
        parts.append(_rows(cut, *shape, flat, 0.05, rng, control=RANDOM_WEIGHTS, sample=0))
    return conform(CONTROLS, pl.concat(parts))


def answers(layers=8, examples=48, types=TYPES, seed=2) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    depth = np.arange(layers + 1) / layers
    lower = 0.55 * np.exp(-(((depth - 0.65) / 0.15) ** 2))
    capital = 0.9 / (1 + np.exp(-(depth - 0.8) / 0.04))
    option = 0.2 * np.exp(-(((depth - 0.6) / 0.12) ** 2))
    rows = []
    for i in range(examples):
        for form, mean in (("lower", lower), ("capital", capital), ("false option", option)):
            prob = np.clip(mean * rng.uniform(0.6, 1.2), 1e-4, 0.999)
            rows += [
                {
                    "example_id": f"q{i:04d}",
                    "type": types[i % len(types)],
                    "layer": k,
                    "form": form,
                    "token_id": 3,
                    "prob": float(p),
                    "prob_raw": float(p) / 2,
                }
                for k, p in enumerate(prob)
            ]
    return pl.DataFrame(rows)


def evaluation(examples=240, right=0.93, types=("query", "choose", "compare", "exist", "relate", "logical"), seed=3):
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(examples):
        answer = ("yes", "no", "red", "blue")[int(rng.integers(2 if i % 6 > 2 else 4))]
        correct = bool(rng.random() < right)
        rows.append(
            {
                "example_id": f"q{i:04d}",
                "type": types[i % len(types)],
                "answer": answer,
                "generated": answer if correct else "other",
                "correct": correct,
            }
        )
    return pl.DataFrame(rows)


def patches(side=8, pixels=64, seed=4, tiles=False) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    step = pixels / side
    rows = []
    for tile, factor in (("base", 1), *((("tile-0", 2),) if tiles else ())):
        for i in range((side * factor) ** 2):
            x, y = (i % (side * factor)) * step / factor, (i // (side * factor)) * step / factor
            hit = np.exp(-((x - 40) ** 2 + (y - 20) ** 2) / 120)
            change = float(-1.2 * hit + rng.normal(0, 0.05))
            rows.append(
                {"example_id": "q0", "type": "query", "patch": len(rows), "x0": x, "y0": y, "x1": x + step / factor}
                | {"y1": y + step / factor, "tile": tile, "logprob_clean": -0.1, "logprob_cut": -0.1 + change}
                | {"change_percent": 100 * np.expm1(change)}
            )
    return pl.DataFrame(rows)


def words(layers=8, examples=20, seed=5) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    rows = [
        {"example_id": f"q{i}", "type": TYPES[i % 2], "layer": k, "position": p, "token_id": 1, "word": "red"}
        | {"prob": 0.5, "in_captions": bool(rng.random() < 0.05 + 0.5 * k / layers)}
        for i in range(examples)
        for k in range(layers + 1)
        for p in range(6)
    ]
    return pl.DataFrame(rows)
