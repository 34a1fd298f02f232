"""What "where inside?" is asked about: examples with the answers that are explained, baselines, and how."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.core.example import Example, input_key
from chiasm.models.encoding.encoded import Encoded
from chiasm.models.inside.attribution import ATTRIBUTION_METHODS, AttributionMethod
from chiasm.models.inside.rerun import AttributionTarget

Baseline = Literal["mean", "grey"]
BASELINES: Final[tuple[Baseline, ...]] = get_args(Baseline)
Frames = dict[str, list[dict[str, Any]]]


class Asked(NamedTuple):
    """An example, its prompt, the tokens of the answer that is explained, and the answer's text."""

    example: Example
    prompt: Encoded
    answer: tuple[int, ...]
    text: str

    @property
    def row(self) -> dict[str, str]:
        """The columns that tell which example it is."""
        return {"example_id": self.example.id, "type": self.example.type, "input": input_key(self.example)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How attribution is computed. `orders`: random orders beside every map; `side`: super-patches per side.

    `shares`: whether image and question are compared. Zeros are no baseline here: a norm makes the same of every point
    on the way from there, and jumps at its start.
    """

    methods: tuple[AttributionMethod, ...] = ATTRIBUTION_METHODS
    target: AttributionTarget = "answer"
    baseline: Baseline = "mean"
    samples: int = 256
    paths: int = 64
    orders: int = 10
    side: int = 6
    shares: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for name in self.methods:
            if name not in ATTRIBUTION_METHODS:
                raise ChiasmError(f"the method `{name}`", f"there are {', '.join(METHODS)}", "Name some of those")
        if self.baseline not in BASELINES:
            raise ChiasmError(f"the baseline `{self.baseline}`", f"there are {', '.join(BASELINES)}", "Name one")


class Background:
    """What the projector gives for other pictures: the mean is the baseline, and paths start at single ones.

    `states`: per picture (n x D), by the picture's `input_key`.
    """

    def __init__(self, states: Mapping[str, Float[Tensor, "n D"]]) -> None:
        self._states = dict(states)

    def __len__(self) -> int:
        return len(self._states)

    def like(self, asked: Asked, count: int) -> Float[Tensor, "K n D"] | None:
        """Other pictures of as many tokens; None where there are fewer than two."""
        own = input_key(asked.example)
        found = [s for key, s in self._states.items() if key != own and len(s) == count]
        return torch.stack(found) if len(found) > 1 else None

    def mean(self, asked: Asked, count: int) -> Float[Tensor, "n D"]:
        """The mean over other pictures, place by place where enough have as many tokens, else over all tokens.

        **Errors:** `ExampleError` without another picture.
        """
        alike = self.like(asked, count)
        if alike is not None:
            return alike.mean(0)
        own = input_key(asked.example)
        others = [s for key, s in self._states.items() if key != own]
        if not others:
            raise ExampleError("there is no other picture whose mean could be the baseline")
        return torch.cat(others).mean(0).expand(count, -1)
