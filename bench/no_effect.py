"""Tables of other studies in which nothing is to be found: what differs differs by chance alone."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Bool, Float

from bench.no_effect_models import align, align_beside, project, project_learnt
from bench.null_data import Tables
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.studies.skip.tables import NONE, SEARCH

TYPES, LAYERS = 4, 6
_IMAGES = ((60, 1), (200, 1), (40, 3))
"""Images x questions on each."""

_ANY = pl.lit(True)
Drawing = Callable[[np.random.Generator], Tables]


class Family(NamedTuple):
    """Claims of one study that hold at once: a `kind`, and of it those that `chosen` keeps."""

    study: str
    kind: str
    data: str
    draw: Callable[[int, int, np.random.Generator], Tables]
    chosen: pl.Expr = _ANY


def studies() -> Iterator[tuple[str, str, Family, Drawing]]:
    """What the data are, their size, which claims are asked for, and one draw of the tables."""
    everything = pl.col("about") == "all"
    families = (
        Family("eval", "seen", "as often right as without the image, all types together", _eval, everything),
        Family("eval", "seen", "as often right as without the image, by type", _eval, ~everything),
        Family("eval", "types", "as often right in any type", _eval),
        Family("skip", "loss", "plans that lose as often as they gain", _skip),
        Family("skip", "logprob", "plans that lose as much as they gain", _skip),
        Family("prune", "loss", "masks as good as the untouched model", _prune),
        Family("prune", "method", "masks as good as each other", _prune),
        Family("align", "change", "spans that change alike, without any control", align),
        Family("align", "change", "spans that differ as in random weights", align_beside),
        Family("project", "gain", "settings that answer as before", project),
        Family("project", "pair", "settings that answer alike", project),
        Family("project", "richness", "probes that read as before, of settings that learnt", project_learnt),
        Family("project", "held", "probes that read what is answered", project_learnt),
        Family("project", "skill", "scenes as often right as before", project),
        Family("look", "share", "attention by what is visible", _look),
        Family("look", "object", "attention within the image by what is visible", _look),
        Family("look", "head", "heads of four queries that look as their layers do", _look_heads),
    )
    for family in families:
        for images, each in _IMAGES:
            size = str(images) if each == 1 else f"{images} x {each}"
            name = f"{family.study}, `{family.kind}`: {family.data}"
            yield name, size, family, partial(family.draw, images, each)


def _examples(images: int, each: int) -> pl.DataFrame:
    n = images * each
    return pl.DataFrame(
        {
            "example_id": [f"e{k:04}" for k in range(n)],
            "type": [f"type {k % TYPES}" for k in range(n)],
            "input": [f"i{k // each}" for k in range(n)],
        }
    )


def _right(rng: np.random.Generator, share: float, images: int, each: int) -> Bool[np.ndarray, " n"]:
    """Right answers; an image that is hard is so for all of its questions."""
    own = rng.beta(2 * share, 2 * (1 - share), images) if each > 1 else np.full(images, share)
    return rng.random(images * each) < np.repeat(own, each)


def _eval(images: int, each: int, rng: np.random.Generator) -> Tables:
    examples = _examples(images, each)
    answered = examples.select("example_id", "type").with_columns(
        # Eight labels, so that guessing is far from what is right.
        answer=pl.Series([f"label {k}" for k in rng.integers(0, 8, len(examples))]),
        generated=pl.lit("x"),
        correct=pl.Series(_right(rng, 0.5, images, each)),
    )
    blind = answered.with_columns(correct=pl.Series(_right(rng, 0.5, images, each)))
    return {"eval": answered, "blind": blind, "examples": examples}


def _skip(images: int, each: int, rng: np.random.Generator) -> Tables:
    examples = _examples(images, each)
    plans = {NONE: NONE, "search-80": SEARCH, "search-60": SEARCH, "random-80-0": "random", "random-60-0": "random"}
    level = rng.normal(-1, 0.5, len(examples))
    rows = [
        examples.select("example_id", "type").with_columns(
            plan=pl.lit(plan),
            kind=pl.lit(kind),
            answer=pl.lit("a"),
            generated=pl.lit("x"),
            correct=pl.Series(_right(rng, 0.8, images, each)),
            logprob=pl.Series(level + np.repeat(1 - rng.exponential(1, images), each)),
        )
        for plan, kind in plans.items()
    ]
    return {"verdicts": pl.concat(rows), "examples": examples}


def _prune(images: int, each: int, rng: np.random.Generator) -> Tables:
    examples = _examples(images, each)
    masks = [("dense", "none"), ("wanda", "all"), ("magnitude", "none"), ("random", "none")]
    masks += [("wanda", f"type {k}") for k in range(TYPES)]
    rows = [
        examples.select("example_id", "type").with_columns(
            mask=pl.lit(mask),
            calibration=pl.lit(calibration),
            sparsity=pl.lit(0.0 if mask == "dense" else 0.5),
            pattern=pl.lit("none" if mask == "dense" else "unstructured"),
            part=pl.lit("none" if mask == "dense" else "all"),
            answer=pl.lit("a"),
            written=pl.lit("x"),
            generated=pl.lit("x"),
            correct=pl.Series(_right(rng, 0.8, images, each)),
            logprob=pl.Series(np.full(len(examples), -0.5)),
            tokens=pl.lit(1),
        )
        for mask, calibration in masks
    ]
    return {"pruned": pl.concat(rows), "examples": examples}


def _look(images: int, each: int, rng: np.random.Generator) -> Tables:
    examples = _examples(images, each)
    own = _shares(rng, images, each)
    control = _shares(rng, images, each).with_columns(control=pl.lit(RANDOM_WEIGHTS))
    return {"shares": own, "shares_controls": control, "examples": examples}


def _look_heads(images: int, each: int, rng: np.random.Generator) -> Tables:
    """Every head looks at an image as much as the others of its layer; what an image is given is skewed."""
    examples, heads, queries = _examples(images, each), 8, ("question", "suffix", "last", "question.objects")
    tables = _look(images, each, rng)
    rows = []
    for query in queries:
        gains = 0.05 * (1 - rng.exponential(1, (images, LAYERS, heads)))
        weight = 0.4 + np.repeat(gains, each, axis=0) + 0.02 * rng.normal(size=(images * each, LAYERS, heads))
        place = np.stack(np.meshgrid(*map(np.arange, weight.shape), indexing="ij")).reshape(3, -1)
        rows.append(
            pl.DataFrame(
                {
                    "example_id": examples["example_id"].gather(place[0]),
                    "layer": place[1],
                    "head": place[2].astype(str),
                    "weight": weight.ravel(),
                }
            ).with_columns(query=pl.lit(query), span=pl.lit("image"), index=pl.lit(0), sink=pl.lit(False))
        )
    return tables | {"attention": pl.concat(rows)}


def _shares(rng: np.random.Generator, images: int, each: int) -> pl.DataFrame:
    n, seen, area = images * each, 0.5, 0.2

    def gains(spread: float) -> Float[np.ndarray, "n l"]:
        return np.repeat(spread * (1 - rng.exponential(1, (images, LAYERS))), each, axis=0)

    share = seen + gains(0.1)
    of_object = share * (area + gains(0.05))
    parts = (("image", share, seen), ("image.object", of_object, seen * area), ("question", 1 - share, 1 - seen))
    rows = [
        pl.DataFrame(
            {
                "example_id": np.repeat([f"e{k:04}" for k in range(n)], LAYERS),
                "type": np.repeat([f"type {k % TYPES}" for k in range(n)], LAYERS),
                "layer": np.tile(np.arange(LAYERS), n),
                "query": "last",
                "span": span,
                "share": values.ravel(),
                "visible": visible,
            }
        )
        for span, values, visible in parts
    ]
    return pl.concat(rows)
