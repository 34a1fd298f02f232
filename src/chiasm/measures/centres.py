"""What is subtracted and what is left out before cosines are taken, from a pilot pass over a sample of the examples."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from chiasm.models.observe import Batch, Seen, averaging

PILOT = 32
"""Examples of the pilot pass: those whose seeded hash is least, so that the order of the data does not matter."""

OUTLIER = 6.0
"""A dimension is an outlier where its root mean square is more than so many times the median dimension's."""


class Centre(NamedTuple):
    """At one site and depth: the `mean` token, and which dimensions are no outliers."""

    mean: Float[Tensor, " D"]
    keep: Bool[Tensor, " D"]


Centres = dict[tuple[str, int], Centre]


class Pilot:
    """Collects `Centres`: mean and mean square of all dimensions, every span of an example weighing alike.

    Cosines of mean tokens are often decided by a few dimensions that are large in every token (Timkey & van Schijndel
    2021, arXiv 2109.04404), and by a common offset; both are shown beside the raw cosines.
    """

    def __init__(self) -> None:
        self._sums: dict[tuple[str, int], Float[np.ndarray, "2 D"]] = {}
        self._waiting: dict[tuple[str, int], Float[np.ndarray, "2 S D"]] = {}
        self._segments = 0

    def see(self, seen: Seen) -> None:
        """The states at one site."""
        squares = averaging(seen.batch, seen.states) @ seen.states.square()
        self._waiting[seen.site, seen.layer] = torch.stack([seen.means, squares]).cpu().double().numpy()

    def end(self, batch: Batch) -> None:
        """The batch has passed and its unsound examples are known."""
        good = np.array([batch.good(segment) for segment in batch.segments], dtype=bool)
        for key, moments in self._waiting.items():
            self._sums[key] = self._sums.get(key, 0) + moments[:, good].sum(axis=1)
        self._segments += int(good.sum())
        self._waiting = {}

    def centres(self) -> Centres:
        """The centres, in float64. Without a sound example nothing is subtracted and nothing left out."""
        found = {}
        for key, sums in self._sums.items():
            mean, squares = sums / max(self._segments, 1)
            size = np.sqrt(squares)
            found[key] = Centre(torch.from_numpy(mean), torch.from_numpy(size <= OUTLIER * np.median(size)))
        return found
