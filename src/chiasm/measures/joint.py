"""What several models of one decoder, or one model on several data, have read, put together as if read at once."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from chiasm.core.spans import TOP_LEVEL
from chiasm.measures.base import Measure

M = TypeVar("M", bound=Measure)
Part = tuple[str, Mapping[str, np.ndarray]]


def joint(make: Callable[[], M], parts: Sequence[Part]) -> M:
    """The measure that `make` gives, made for the spans of all `parts` (`qualified`), with what each part's has kept.

    A part is a name and the `state` of a measure. What measures keep are sums by span, so rows over pairs of spans
    then cross from part to part: image with video, the text of one data set with that of another, their masks on
    the weights they share.

    Assumption: parts share the decoder, or a cosine between them compares axes that mean different things. Pairs of
    parts are pairs of different examples, also where both have read the same ones. Rows without outlier dimensions
    are left out, since each part leaves out dimensions of its own.
    """
    measures = []
    for name, state in parts:
        measure = make()
        kept = {key: value for key, value in state.items() if "no_outliers" not in _split(key)[1]}
        measure.restore({_renamed(key, name): value for key, value in kept.items()})
        measures.append(measure)
    for other in measures[1:]:
        measures[0].merge(other)
    return measures[0]


def qualified(span: str, part: str) -> str:
    """The name of a span of `part`: `image [photos]`."""
    return f"{span} [{part}]"


def _split(key: str) -> tuple[str, list[str], str]:
    kind, _, rest = key.partition(":")
    body, newline, example = rest.partition("\n")
    return kind, body.split("/"), newline + example


def _renamed(key: str, part: str) -> str:
    kind, places, example = _split(key)
    named = [qualified(p, part) if p.partition("+")[0].partition(".")[0] in TOP_LEVEL else p for p in places]
    return f"{kind}:{'/'.join(named)}{example}"
