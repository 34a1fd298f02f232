"""All measures of alignment, as one run wants them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor, nn

from chiasm.measures.base import Measure
from chiasm.measures.centres import Centres
from chiasm.measures.drift import Drift
from chiasm.measures.geometry import Geometry
from chiasm.measures.inside import Inside
from chiasm.measures.norms import Norms
from chiasm.measures.overlap import Overlap
from chiasm.measures.score import Score
from chiasm.measures.similarity import Similarity
from chiasm.measures.token_pairs import TokenPairs
from chiasm.measures.vocabulary import Vocabulary

SAMPLED = 9
"""Hidden states that the dear measures read: so many, evenly spread, the first and the last among them."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the measures of one run need to know.

    `layers`: of the model. `vocabulary_tokens`: tokens per span that are read in words (0: none). `as_released` adds
    the forms of the released code. `inside`: also read inside the blocks; `token_pairs`: all pairs of tokens there too,
    which is dear. `task_of`: the task of an example, for masks by task (empty: none).
    """

    spans: tuple[str, ...]
    layers: int
    matrices: Mapping[str, nn.Linear]
    unembed: Callable[[Tensor], Tensor]
    words: Callable[[int], str]
    centres: Centres = field(default_factory=dict)
    vocabulary_tokens: int = 16
    as_released: bool = False
    inside: bool = True
    token_pairs: bool = False
    task_of: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0


def sampled(layers: int) -> tuple[int, ...]:
    """The hidden states that dear measures read, of a model with so many layers."""
    return tuple(int(k) for k in np.unique(np.linspace(0, layers, SAMPLED).round()))


def measures(wanted: Wanted) -> tuple[Measure, ...]:
    """Fresh measures. Merging two sets made from equal wishes is merging them one by one."""
    spans, few = wanted.spans, sampled(wanted.layers)
    made: list[Measure] = [
        Norms(),
        Drift(as_released=wanted.as_released),
        Score(spans, seed=wanted.seed),
        Similarity(spans, wanted.centres, inside=wanted.inside, token_pairs=wanted.token_pairs),
        TokenPairs(spans, few, wanted.centres, seed=wanted.seed, inside=wanted.token_pairs),
        Overlap(spans, wanted.matrices, seed=wanted.seed, task_of=wanted.task_of),
        Geometry(spans, few, seed=wanted.seed),
    ]
    if wanted.inside:
        made.append(Inside())
    if wanted.vocabulary_tokens:
        made.append(
            Vocabulary(
                spans,
                few,
                wanted.unembed,
                wanted.words,
                tokens=wanted.vocabulary_tokens,
                seed=wanted.seed,
                as_released=wanted.as_released,
            )
        )
    return tuple(made)
