"""What is subtracted and what is left out before cosines are taken, from a pilot pass over a sample of the examples."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from chiasm.models.observe import Batch, SiteStates, averaging_matrix

PILOT = 32
"""Examples of the pilot pass: those whose seeded hash is least, so that the order of the data does not matter."""

OUTLIER = 6.0
"""A dimension is an outlier where its root mean square is more than so many times the median dimension's."""


class Centre(NamedTuple):
    """At one site and depth: each span's `means` (its mean token), and the dimensions to `keep`: no outliers.

    A span is centred by its own mean. With one mean for all, two spans that lie apart would lie on opposite sides of
    it, and their cosine would be near -1 whatever they hold.
    """

    means: Mapping[str, Float[Tensor, " D"]]
    keep: Bool[Tensor, " D"]

    def offsets(self, batch: Batch, like: Tensor) -> Float[Tensor, "S D"]:
        """What is subtracted from each segment of `batch`; nothing from a span that the pilot did not see."""
        nothing = torch.zeros(like.shape[-1], dtype=torch.float64)
        found = [self.means.get(segment.span, nothing) for segment in batch.segments]
        return torch.stack(found).to(like) if found else like.new_zeros(0, like.shape[-1])


Centres = Mapping[tuple[str, int], Centre]


def over_tokens(batch: Batch, segments: Float[Tensor, "S D"]) -> Float[Tensor, "N D"]:
    """The row of each segment at every one of its tokens."""
    lengths = torch.tensor([s.stop - s.start for s in batch.segments], device=segments.device)
    return segments.repeat_interleave(lengths, dim=0)


class Pilot:
    """Collects `Centres`: mean and mean square of all dimensions, examples of a span weighing alike.

    Cosines of mean tokens are often decided by a few dimensions that are large in every token (Timkey & van Schijndel
    2021, arXiv 2109.04404), and by an offset that a span's tokens share; both are shown beside the raw cosines.
    """

    def __init__(self) -> None:
        self._sums: dict[tuple[str, int], dict[str, Float[np.ndarray, "2 D"]]] = {}
        self._waiting: dict[tuple[str, int], Float[np.ndarray, "2 S D"]] = {}
        self._counts: Counter[str] = Counter()

    def update(self, seen: SiteStates) -> None:
        """The states at one site."""
        squares = averaging_matrix(seen.batch, seen.states) @ seen.states.square()
        self._waiting[seen.site, seen.layer] = torch.stack([seen.means, squares]).cpu().double().numpy()

    def end_batch(self, batch: Batch) -> None:
        """The batch has passed and its invalid examples are known."""
        valid = [(k, segment.span) for k, segment in enumerate(batch.segments) if batch.is_valid(segment)]
        self._counts.update(span for _, span in valid)
        for key, moments in self._waiting.items():
            sums = self._sums.setdefault(key, {})
            for k, span in valid:
                sums[span] = sums[span] + moments[:, k] if span in sums else moments[:, k]
        self._waiting = {}

    def rows(self) -> list[dict[str, Any]]:
        """The table `outliers`: how many dimensions the rule leaves out, by site and depth."""
        return [
            {
                "layer": layer,
                "tap": site,
                "outliers": int((~centre.keep).sum()),
                "dimensions": len(centre.keep),
                "n": max(self._counts.values()),
            }
            for (site, layer), centre in self.centres().items()
        ]

    def centres(self) -> Centres:
        """The centres, in float64; at sites where no example was valid there is none."""
        found = {}
        for key, sums in self._sums.items():
            moments = {span: value / self._counts[span] for span, value in sums.items()}
            if moments:
                # Spans weigh alike, however many examples have them.
                size = np.sqrt(np.mean([squares for _, squares in moments.values()], axis=0))
                means = {span: torch.from_numpy(mean) for span, (mean, _) in moments.items()}
                found[key] = Centre(means, torch.from_numpy(size <= OUTLIER * np.median(size)))
        return found
