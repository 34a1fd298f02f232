"""All measures of alignment, and what one run needs of them."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from chiasm.measures.base import Measure
from chiasm.measures.centres import Centres
from chiasm.measures.geometry import Geometry
from chiasm.measures.norms import Drift, InsideBlocks, Norms
from chiasm.measures.overlap import Overlap, matrices_of
from chiasm.measures.score import Score
from chiasm.measures.similarity import Similarity
from chiasm.measures.token_pairs import TokenPairs
from chiasm.measures.vocabulary import Vocabulary
from chiasm.models.view import ModelView

SAMPLED = 9
"""Hidden states that the costly measures read: so many, evenly spread, the first and the last among them."""


def sampled(layers: int) -> tuple[int, ...]:
    """The hidden states that costly measures read, of a model with so many layers."""
    return tuple(int(k) for k in np.unique(np.linspace(0, layers, SAMPLED).round()))


def measures(
    spans: tuple[str, ...],
    view: ModelView,
    centres: Centres,
    *,
    vocabulary_tokens: int = 16,
    as_released: bool = False,
    inside: bool = True,
    token_pairs: bool = False,
    task_of: Mapping[str, str] | None = None,
    seed: int = 0,
) -> tuple[Measure, ...]:
    """Fresh measures of a model. Merging two sets made from equal arguments is merging them one by one.

    `vocabulary_tokens`: tokens per span that are read in words (0: none). `as_released` adds the forms of the released
    code. `inside`: also read inside the blocks; `token_pairs`: all pairs of tokens there too, which is costly.
    `task_of`: the task of an example, for masks by task (none without).
    """
    few = sampled(view.n_layers)
    made: list[Measure] = [
        Norms(),
        Drift(as_released=as_released),
        Score(spans, seed=seed),
        Similarity(spans, centres, inside=inside, token_pairs=token_pairs),
        TokenPairs(spans, few, centres, seed=seed, inside=token_pairs),
        Overlap(spans, matrices_of(view.layers), seed=seed, task_of=task_of),
        Geometry(spans, few, seed=seed),
    ]
    if inside:
        made.append(InsideBlocks())
    if vocabulary_tokens:

        def unembed(states: Float[Tensor, "n D"]) -> Float[Tensor, "n V"]:
            with torch.no_grad():
                return view.unembed(states.to(view.dtype))

        def word(token: int) -> str:
            return view.tokenizer.decode([token])

        made.append(Vocabulary(spans, few, unembed, word, tokens=vocabulary_tokens, seed=seed, as_released=as_released))
    return tuple(made)
