"""Words of answers that lose nothing by a cut, or no more than a control shows; made tables of `--target words`."""

import numpy as np
import polars as pl
from jaxtyping import Float

from bench.null_data import DRAWS, Draw, Tables
from chiasm.data.answer_words import FUNCTION_WORDS, NOT_THERE, THERE
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.studies.flow.tables import SIZE_MATCHED

_CUTS = ("image->question+suffix+last+answer", "image->last+answer", "question->last+answer", "answer->answer")
_GROUPS = (THERE, NOT_THERE, "colours", FUNCTION_WORDS)
_LAYERS, _WORDS, _MODELS = 6, 2, 5
_COLUMNS = len(_CUTS) * _LAYERS
_OF_MODELS = 0.3
"""How much the mean effects of models with random weights differ (nat)."""

Means = Float[np.ndarray, "columns groups"]


def made_words(draw: Draw, n: int, rng: np.random.Generator) -> Tables:
    """No group of words loses anything, nor under as many random keys; one description in three invents an object."""
    nothing = np.zeros((_COLUMNS, len(_GROUPS)))
    return _tables(_rows(draw, n, rng, nothing), [_rows(draw, n, rng, nothing)], SIZE_MATCHED)


def lost_alike(draw: Draw, n: int, rng: np.random.Generator) -> Tables:
    """All words lose 1 nat by every cut, where random keys cost nothing: objects that are not there no more or less."""
    nothing = np.zeros((_COLUMNS, len(_GROUPS)))
    return _tables(_rows(draw, n, rng, nothing - 1.0), [_rows(draw, n, rng, nothing)], SIZE_MATCHED)


def as_untrained(n: int, rng: np.random.Generator) -> Tables:
    """Words that lose by every cut what they do in one more model with random weights."""
    means = [rng.normal(0, _OF_MODELS, (_COLUMNS, len(_GROUPS))) for _ in range(1 + _MODELS)]
    own, *models = (_rows(DRAWS["normal"], n, rng, one) for one in means)
    share = pl.col("example_id").str.slice(1).cast(pl.Int64) % _MODELS
    return _tables(own, [rows.filter(share == k) for k, rows in enumerate(models)], RANDOM_WEIGHTS)


def _tables(own: pl.DataFrame, controls: list[pl.DataFrame], control: str) -> dict[str, pl.DataFrame]:
    beside = [rows.with_columns(control=pl.lit(control), sample=pl.lit(k)) for k, rows in enumerate(controls)]
    columns = ["example_id", "type", "layer", "start", "stop", "logprob_clean"]
    quiet = own.unique("example_id", maintain_order=True).select(columns)
    effects = quiet.with_columns(cut=pl.lit("image->last"), logprob_cut=pl.col("logprob_clean"))
    return {"effects": effects, "answer_words": own, "answer_words_controls": pl.concat(beside)}


def _rows(draw: Draw, n: int, rng: np.random.Generator, means: Means) -> pl.DataFrame:
    """Half of the variance of a description is common to all of its words and columns."""
    parts = []
    for at, group in enumerate(_GROUPS):
        has = np.flatnonzero(rng.random(n) < 1 / 3) if group == NOT_THERE else np.arange(n)
        parts.append((at, group, np.repeat(has, _WORDS)))
    common = draw(rng, n)
    frames = []
    for at, group, who in parts:
        noise = 0.7 * (common[who][:, None] + draw(rng, len(who) * _COLUMNS).reshape(len(who), _COLUMNS))
        layer = pl.Series(np.tile(np.tile(np.arange(_LAYERS), len(_CUTS)), len(who)))
        frames.append(
            pl.DataFrame(
                {
                    "example_id": np.repeat([f"e{k:04d}" for k in who], _COLUMNS),
                    "word": np.repeat(10 * at + np.arange(len(who)) % _WORDS, _COLUMNS),
                    "cut": np.tile(np.repeat(_CUTS, _LAYERS), len(who)).tolist(),
                    "layer": layer,
                    "start": layer,
                    "stop": layer + 1,
                    "logprob_cut": (noise + means[:, at]).ravel() - 1.0,
                }
            ).with_columns(
                type=pl.lit("t"), group=pl.lit(group), text=pl.lit("w"), tokens=pl.lit(1), logprob_clean=pl.lit(-1.0),
                **{"class": pl.lit("c")},
            )
        )  # fmt: skip
    return pl.concat(frames)
