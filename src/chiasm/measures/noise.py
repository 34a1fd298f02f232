"""A modality that means nothing: random tokens where the picture's tokens were."""

import torch
from jaxtyping import Float
from torch import Tensor

from chiasm.core.spans import PERCEPTUAL
from chiasm.core.statistics.jackknife import priority
from chiasm.models.encoding.encoded import Encoded


class NoiseTokens:
    """Puts tokens with uniformly random entries in the place of every perceptual token as it enters the decoder.

    Each keeps the norm of the token it replaces, so that what differs is what it says and not how large it is. The
    draw depends on `seed` and the example alone. Source: Shukor & Cord 2024, released code (`noise_modality`), there
    with entries of fixed range.
    """

    def __init__(self, encoded: list[Encoded], seed: int) -> None:
        self.encoded, self.seed = encoded, seed

    def __call__(self, states: Float[Tensor, "B T D"], padding: list[int]) -> Float[Tensor, "B T D"]:
        changed = states.clone()
        for row, (item, before) in enumerate(zip(self.encoded, padding, strict=True)):
            generator = torch.Generator().manual_seed(priority(item.example_id, self.seed))
            for span in PERCEPTUAL:
                if span not in item.spans or not len(item.spans[span]):
                    continue
                at = torch.from_numpy(item.spans[span] + before).to(states.device)
                own = states[row, at].to(torch.float32)
                drawn = (torch.rand(own.shape, generator=generator) * 2 - 1).to(states.device)
                scale = torch.linalg.vector_norm(own, dim=-1) / torch.linalg.vector_norm(drawn, dim=-1)
                changed[row, at] = (drawn * scale[:, None]).to(states.dtype)
        return changed
