"""Where inside a model an answer about a picture comes from: attribution on the projector's output."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from chiasm.core.errors import ExampleError
from chiasm.core.example import input_key
from chiasm.models.inside.attribution import (
    Attribution,
    gradient_shap,
    integrated_gradients,
    kernel_shap,
    ranked_scores,
    super_patches,
)
from chiasm.models.inside.rerun import Rerun, projected_positions
from chiasm.models.view import ModelView
from chiasm.runners.local import watched
from chiasm.studies.inside.modalities import modalities
from chiasm.studies.inside.spec import Asked, Background, Frames, Options

RANDOM: Final = "random"
_SHARES: Final = np.linspace(0, 1, 11)


class _Done(NamedTuple):
    asked: Asked
    found: list[Attribution]
    object: np.ndarray


def attributed(
    view: ModelView,
    asked: Sequence[Asked],
    background: Background,
    options: Options,
    grey: Mapping[str, Float[Tensor, "n D"]] | None = None,
) -> tuple[Frames, list[tuple[str, str]]]:
    """Rows of `attributions`, `attribution_maps`, `attribution_curves` and `modalities`, and examples that failed.

    `grey`: the projector's output for a picture in one colour, by example, for that baseline.
    """
    frames: Frames = defaultdict(list)
    failures, done, guard = [], [], True
    for one in watched(asked, "attribution"):
        try:
            rerun = Rerun(view, one.prompt, one.answer, target=options.target, guard=guard)
            guard = False
            base = _base(rerun, one, background, options, grey)
            found = _maps(rerun, one, base, background, options)
            areas = _curves(frames, rerun, one, base, found, options)
            if options.shares:
                frames["modalities"] += _modalities(view, one, base, options)
        except ExampleError as error:
            failures.append((one.example.id, str(error)))
            continue
        inside = np.isin(projected_positions(one.prompt), one.prompt.spans["image.object"])
        done.append(_Done(one, found, inside))
        for each, area in zip(found, areas, strict=True):
            frames["attributions"].append(one.row | _row(each, one, options) | area)
            frames["attribution_maps"] += _places(one, each)
    _point(frames["attributions"], done)
    return dict(frames), failures


def _base(
    rerun: Rerun,
    one: Asked,
    background: Background,
    options: Options,
    grey: Mapping[str, Tensor] | None,
) -> Float[Tensor, "n D"]:
    if options.baseline == "grey":
        assert grey is not None
        return grey[one.example.id]
    return background.mean(one, len(rerun.rows))


def _maps(
    rerun: Rerun, one: Asked, base: Float[Tensor, "n D"], background: Background, options: Options
) -> list[Attribution]:
    found = []
    for method in options.methods:
        match method:
            case "integrated-gradients":
                found.append(integrated_gradients(rerun, base))
            case "gradient-shap":
                others = background.like(one, len(rerun.rows))
                # Paths that start at one picture only are those of Integrated Gradients.
                if others is not None:
                    found.append(gradient_shap(rerun, others, samples=options.paths, seed=options.seed))
            case "kernel-shap":
                features = _features(one, options.side)
                found.append(kernel_shap(rerun, base, features, samples=options.samples, seed=options.seed))
    return found


def _features(one: Asked, side: int) -> np.ndarray:
    rows, parts, start = projected_positions(one.prompt), [], 0
    for layout in one.prompt.layouts:
        rects = layout.rects[np.isin(layout.positions, rows)]
        parts.append(super_patches(rects, layout.width, layout.height, side) + start)
        start = int(parts[-1].max(initial=start - 1)) + 1
    return np.concatenate(parts)


def _curves(
    frames: Frames, rerun: Rerun, one: Asked, base: Tensor, found: Sequence[Attribution], options: Options
) -> list[dict[str, float]]:
    """Rows of `attribution_curves`, and per map the areas under its curves beside those of random orders."""
    n = len(rerun.rows)
    rng = np.random.default_rng([options.seed, *one.example.id.encode()])
    orders = [np.argsort(-each.tokens, kind="stable") for each in found]
    orders += [rng.permutation(n) for _ in range(options.orders)]
    counts = [round(share * n) for share in _SHARES]
    logprobs = ranked_scores(rerun, base, orders, counts)
    probs = np.exp(logprobs)
    own, random = len(found), (probs[len(found) :].mean(0), logprobs[len(found) :].mean(0))
    drawn = [(each.method, probs[k], logprobs[k]) for k, each in enumerate(found)] + [(RANDOM, *random)]
    for name, prob, logprob in drawn:
        for k, kind in enumerate(("deletion", "insertion")):
            frames["attribution_curves"] += [
                {
                    "example_id": one.example.id,
                    "order": name,
                    "kind": kind,
                    "share": count / n,
                    "prob": float(p),
                    "logprob": float(lp),
                }
                for count, p, lp in zip(counts, prob[k], logprob[k], strict=True)
            ]
    # By the trapezium rule over the share of tokens.
    areas = np.trapezoid(probs, np.array(counts) / n, axis=-1)
    chance = areas[own:].mean(axis=0)
    return [
        {
            "deletion": float(areas[k, 0]),
            "deletion_random": float(chance[0]),
            "insertion": float(areas[k, 1]),
            "insertion_random": float(chance[1]),
        }
        for k in range(own)
    ]


def _modalities(view: ModelView, one: Asked, base: Float[Tensor, "n D"], options: Options) -> list[dict[str, Any]]:
    # As many squares as the question has tokens, nearly, as the source has it.
    side = max(2, round(len(one.prompt.spans["question"]) ** 0.5))
    found = modalities(
        view, one.prompt, one.answer, base, _features(one, side), samples=options.samples, seed=options.seed
    )
    return [one.row | told for told in found]


def _row(each: Attribution, one: Asked, options: Options) -> dict[str, Any]:
    return {
        "answer": one.text,
        "method": each.method,
        # Paths of GradientSHAP start at single pictures of the background, whatever the others start at.
        "baseline": "mean" if each.method == "gradient-shap" else options.baseline,
        "value": each.value,
        "base_value": each.baseline,
        "steps": each.steps,
        "error": each.error,
    }


def _places(one: Asked, each: Attribution) -> list[dict[str, Any]]:
    rows = projected_positions(one.prompt)
    value = dict(zip(rows.tolist(), each.tokens.tolist(), strict=True))
    index = {position: place for place, position in enumerate(one.prompt.spans["image"].tolist())}
    return [
        {
            "example_id": one.example.id,
            "method": each.method,
            "index": index[position],
            "value": value[position],
            "tile": str(tile),
            **{k: None if np.isnan(v) else float(v) for k, v in zip(("x0", "y0", "x1", "y1"), rect, strict=True)},
        }
        # Maps are drawn over the first picture, as boxes count its pixels.
        for position, rect, tile in zip(*_first(one), strict=True)
        if position in value
    ]


def _first(one: Asked) -> tuple[list[int], np.ndarray, np.ndarray]:
    if not one.prompt.layouts:
        return [], np.empty((0, 4)), np.empty(0)
    layout = one.prompt.layouts[0]
    return layout.positions.tolist(), layout.rects, layout.tile


def _point(rows: list[dict[str, Any]], done: Sequence[_Done]) -> None:
    """How much of every map lies on the object, and how much of other examples' maps lies there."""
    maps = {(d.asked.example.id, a.method): a.tokens for d in done for a in d.found}
    inputs = {d.asked.example.id: input_key(d.asked.example) for d in done}
    inside = {d.asked.example.id: d.object for d in done}
    for row in rows:
        own, method = row["example_id"], row["method"]
        box = inside[own]
        row |= {"object": None, "area": None, "object_swapped": None}
        # A box over everything or nothing cannot be pointed at.
        if not 0 < box.sum() < len(box) or (share_inside := energy(maps[own, method], box)) is None:
            continue
        others = [
            share
            for (other, m), tokens in maps.items()
            if m == method and inputs[other] != inputs[own] and len(tokens) == len(box)
            if (share := energy(tokens, box)) is not None
        ]
        row |= {"object": share_inside, "area": float(box.mean())}
        row["object_swapped"] = float(np.mean(others)) if others else None


def energy(tokens: Float[np.ndarray, " n"], inside: Bool[np.ndarray, " n"]) -> float | None:
    """The share of positive attribution that lies inside; None where none is positive. By chance: the share of tokens.

    Source: the energy-based pointing game of Wang et al. 2020 (Score-CAM), equation 5.
    """
    positive = np.clip(tokens, 0, None)
    whole = float(positive.sum())
    return float(positive[inside].sum()) / whole if whole > 0 else None
