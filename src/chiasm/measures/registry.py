"""All measures of alignment, and what one run needs of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor, nn

from chiasm.measures.base import Measure
from chiasm.measures.centres import Centres
from chiasm.measures.geometry import Geometry
from chiasm.measures.norms import Drift, InsideBlocks, Norms
from chiasm.measures.overlap import Overlap
from chiasm.measures.score import Score
from chiasm.measures.similarity import Similarity
from chiasm.measures.token_pairs import TokenPairs
from chiasm.measures.vocabulary import Vocabulary

SAMPLED = 9
"""Hidden states that the costly measures read: so many, evenly spread, the first and the last among them."""


@dataclass(frozen=True, kw_only=True)
class MeasureConfig:
    """What the measures of one run need to know.

    `layers`: of the model. `vocabulary_tokens`: tokens per span that are read in words (0: none). `as_released` adds
    the forms of the released code. `inside`: also read inside the blocks; `token_pairs`: all pairs of tokens there too,
    which is costly. `task_of`: the task of an example, for masks by task (empty: none).
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
    """The hidden states that costly measures read, of a model with so many layers."""
    return tuple(int(k) for k in np.unique(np.linspace(0, layers, SAMPLED).round()))


def measures(config: MeasureConfig) -> tuple[Measure, ...]:
    """Fresh measures. Merging two sets made from equal configurations is merging them one by one."""
    spans, few = config.spans, sampled(config.layers)
    made: list[Measure] = [
        Norms(),
        Drift(as_released=config.as_released),
        Score(spans, seed=config.seed),
        Similarity(spans, config.centres, inside=config.inside, token_pairs=config.token_pairs),
        TokenPairs(spans, few, config.centres, seed=config.seed, inside=config.token_pairs),
        Overlap(spans, config.matrices, seed=config.seed, task_of=config.task_of),
        Geometry(spans, few, seed=config.seed),
    ]
    if config.inside:
        made.append(InsideBlocks())
    if config.vocabulary_tokens:
        made.append(
            Vocabulary(
                spans,
                few,
                config.unembed,
                config.words,
                tokens=config.vocabulary_tokens,
                seed=config.seed,
                as_released=config.as_released,
            )
        )
    return tuple(made)
