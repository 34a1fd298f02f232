"""Attribution of answers to the projector's output: maps, whether they can be trusted, image against question."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from chiasm.core.errors import ExampleError
from chiasm.core.example import input_key
from chiasm.measures.base import RowsByTable, bound
from chiasm.models.encoded import Encoded
from chiasm.models.inside.attribution import (
    Attribution,
    gradient_shap,
    integrated_gradients,
    kernel_shap,
    ranked_scores,
    super_patches,
    two_players,
)
from chiasm.models.inside.rerun import Rerun, projected_positions
from chiasm.models.view import ModelView
from chiasm.runners.progress import track
from chiasm.studies.inside.explained import Background, ExplainedAnswer, Failures
from chiasm.studies.inside.spec import AttributionOptions, Replacement
from chiasm.studies.inside.tables import RANDOM_ORDER

_SHARES: Final = np.linspace(0, 1, 11)
_SIDE = 6
"""Super-patches per side of an image in Kernel SHAP."""


class _Mapped(NamedTuple):
    """The maps of one answer, and which of the image's tokens lie on what is asked about."""

    one: ExplainedAnswer
    maps: list[Attribution]
    object: Bool[np.ndarray, " n"]


def attribution_rows(
    view: ModelView,
    explained: Sequence[ExplainedAnswer],
    background: Background,
    options: AttributionOptions,
    grey: Mapping[str, Float[Tensor, "n D"]] | None = None,
) -> tuple[RowsByTable, Failures]:
    """Rows of `attributions`, `attribution_maps`, `attribution_curves` and `modalities`, and examples that failed.

    `grey`: the projector's output for an image in one colour, by example, where that stands in place of the image; else
    the mean over `background` does.
    """
    rows: RowsByTable = defaultdict(list)
    failures, done, guard = [], [], True
    replacement: Replacement = "mean" if grey is None else "grey"
    for one in track(explained, "attribution"):
        try:
            rerun = Rerun(view, one.prompt, one.answer, target=options.target, guard=guard)
            guard = False
            base = background.mean(one, len(rerun.rows)) if grey is None else grey[one.example.id]
            maps = _maps(rerun, one, base, background, options)
            areas = _curves(rows, rerun, one, base, maps, options)
            if options.shares:
                rows["modalities"] += [one.row | share for share in _modalities(view, one, base, options)]
        except ExampleError as error:
            failures.append((one.example.id, str(error)))
            continue
        on_object = np.isin(projected_positions(one.prompt), one.prompt.spans["image.object"])
        done.append(_Mapped(one, maps, on_object))
        for each, area in zip(maps, areas, strict=True):
            rows["attributions"].append(one.row | _row(each, one, replacement) | area)
            # What does not add up to the answer is no map of it.
            rows["attribution_maps"] += _places(one, each) if each.complete else []
    _add_pointing(rows["attributions"], done)
    return dict(rows), failures


def _maps(
    rerun: Rerun, one: ExplainedAnswer, base: Float[Tensor, "n D"], background: Background, options: AttributionOptions
) -> list[Attribution]:
    found = []
    for method in options.methods:
        match method:
            case "integrated-gradients":
                found.append(integrated_gradients(rerun, base))
            case "gradient-shap":
                others = background.like(one, len(rerun.rows))
                # Paths that start at one image only are those of Integrated Gradients.
                if others is not None:
                    found.append(gradient_shap(rerun, others, seed=options.seed))
            case "kernel-shap":
                features = _features(one.prompt, _SIDE)
                found.append(kernel_shap(rerun, base, features, samples=options.samples, seed=options.seed))
    return found


def _features(prompt: Encoded, side: int) -> Int[np.ndarray, " n"]:
    """The super-patch of every token of the prompt's images, numbered through all of them."""
    positions, parts, start = projected_positions(prompt), [], 0
    for layout in prompt.layouts:
        rects = layout.rects[np.isin(layout.positions, positions)]
        parts.append(super_patches(rects, layout.width, layout.height, side) + start)
        start = int(parts[-1].max(initial=start - 1)) + 1
    return np.concatenate(parts)


def _curves(
    rows: RowsByTable,
    rerun: Rerun,
    one: ExplainedAnswer,
    base: Tensor,
    maps: Sequence[Attribution],
    options: AttributionOptions,
) -> list[dict[str, float]]:
    """Adds rows of `attribution_curves`; per map the areas under its curves beside those of random orders."""
    n, own = len(rerun.rows), len(maps)
    rng = np.random.default_rng([options.seed, *one.example.id.encode()])
    orders = [np.argsort(-each.tokens, kind="stable") for each in maps]
    orders += [rng.permutation(n) for _ in range(options.orders)]
    counts = [round(share * n) for share in _SHARES]
    logprobs = ranked_scores(rerun, base, orders, counts)
    probs = np.exp(logprobs)
    drawn = [(each.method, probs[k], logprobs[k]) for k, each in enumerate(maps)]
    drawn.append((RANDOM_ORDER, probs[own:].mean(0), logprobs[own:].mean(0)))
    for name, prob, logprob in drawn:
        for k, kind in enumerate(("deletion", "insertion")):
            rows["attribution_curves"] += [
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


def _modalities(
    view: ModelView, one: ExplainedAnswer, base: Float[Tensor, "n D"], options: AttributionOptions
) -> list[dict[str, Any]]:
    """The image's share of an answer, by Kernel SHAP over super-patches and question tokens, and of two players.

    A question's token that is out stands at the mean of the vocabulary. `blank` repeats the measurement with the
    image's tokens replaced as well: nothing rests on them then, and what is found all the same is noise.

    Source: Parcalabescu & Frank 2023 (MM-SHAP), equations 2 and 3; two players: Shapley 1953, exact. Assumption: sums
    of absolute values grow with the number of features, so shares compare settings and not modalities of unlike length.

    **Errors:** `EmptySpanError` without a question.
    """
    image, question = projected_positions(one.prompt), one.prompt.spans.require("question")
    # As many squares as the question has tokens, nearly, as the source has it.
    features = _features(one.prompt, max(2, round(len(question) ** 0.5)))
    positions = np.concatenate([image, question])
    whole = Rerun(view, one.prompt, one.answer, positions, guard=False)
    mean = cast(Tensor, view.embeddings.weight).detach().float().mean(0).to(base)
    out = torch.cat([base, mean.expand(len(question), -1)])
    blank = whole.with_states(torch.cat([base, whole.states[len(image) :]]))
    first = np.arange(len(positions)) < len(image)
    joined = np.concatenate([features, features.max() + 1 + np.arange(len(question))])

    def shapley(run: Rerun) -> tuple[float, float]:
        tokens = kernel_shap(run, out, joined, samples=options.samples, seed=options.seed).tokens
        return float(np.abs(tokens[first]).sum()), float(np.abs(tokens[~first]).sum())

    def players(run: Rerun) -> tuple[float, float]:
        one, other = two_players(run, out, first)
        return abs(one), abs(other)

    return [
        {"method": name, "image": own[0], "text": own[1], "share": _share(*own), "blank": _share(*nothing)}
        for name, own, nothing in (
            ("kernel-shap", shapley(whole), shapley(blank)),
            ("two-players", players(whole), players(blank)),
        )
    ]


def _share(image: float, text: float) -> float:
    return image / (image + text) if image + text else 0.0


def _row(each: Attribution, one: ExplainedAnswer, replacement: Replacement) -> dict[str, Any]:
    return {
        "answer": one.text,
        "method": each.method,
        # Paths of GradientSHAP start at single images of the background, whatever the others start at.
        "baseline": "mean" if each.method == "gradient-shap" else replacement,
        "value": each.value,
        "base_value": each.base_value,
        "steps": each.steps,
        "error": each.error,
    }


def _places(one: ExplainedAnswer, each: Attribution) -> list[dict[str, Any]]:
    """Rows of `attribution_maps`: maps are drawn over the first image, as boxes count its pixels."""
    value = dict(zip(projected_positions(one.prompt).tolist(), each.tokens.tolist(), strict=True))
    index = {position: place for place, position in enumerate(one.prompt.spans["image"].tolist())}
    return [
        {
            "example_id": one.example.id,
            "method": each.method,
            "index": index[position],
            "value": value[position],
            "tile": str(tile),
            **{name: bound(corner) for name, corner in zip(("x0", "y0", "x1", "y1"), rect, strict=True)},
        }
        for layout in one.prompt.layouts[:1]
        for position, rect, tile in zip(layout.positions.tolist(), layout.rects, layout.tile, strict=True)
        if position in value
    ]


def _add_pointing(rows: Sequence[dict[str, Any]], done: Sequence[_Mapped]) -> None:
    """Adds how much of every map lies on the object, and how much of other examples' maps lies there."""
    maps = {(d.one.example.id, a.method): a.tokens for d in done for a in d.maps if a.complete}
    inputs = {d.one.example.id: input_key(d.one.example) for d in done}
    objects = {d.one.example.id: d.object for d in done}
    for row in rows:
        own, method = row["example_id"], row["method"]
        box = objects[own]
        row |= {"object": None, "area": None, "object_swapped": None}
        # A box over everything or nothing cannot be pointed at, and what does not add up does not point.
        if (
            (own, method) not in maps
            or not 0 < box.sum() < len(box)
            or (share := energy(maps[own, method], box)) is None
        ):
            continue
        others = [
            swapped
            for (other, m), tokens in maps.items()
            if m == method and inputs[other] != inputs[own] and len(tokens) == len(box)
            if (swapped := energy(tokens, box)) is not None
        ]
        row |= {"object": share, "area": float(box.mean())}
        row["object_swapped"] = float(np.mean(others)) if others else None


def energy(tokens: Float[np.ndarray, " n"], inside: Bool[np.ndarray, " n"]) -> float | None:
    """The share of positive attribution that lies inside; None where none is positive. By chance: the share of tokens.

    Source: the energy-based pointing game of Wang et al. 2020 (Score-CAM), equation 5.
    """
    positive = np.clip(tokens, 0, None)
    whole = float(positive.sum())
    return float(positive[inside].sum()) / whole if whole > 0 else None
