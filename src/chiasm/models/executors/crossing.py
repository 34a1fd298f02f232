"""Cuts in layers that attend to the picture itself, whose tokens stand outside the sequence.

There the token of a picture in the prompt stands for all of it: hiding that token from a row closes the picture's
columns of the cross-attention to that row. A row left without any column would, under the public mask, attend to all
of them alike (transformers multiplies its mask by zero), so the output of the branch is zeroed there instead; what
the row's feed-forward branch does is left as it was.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from chiasm.interventions import KnockOut
from chiasm.models.encoding.encoded import Encoded


def pictures_of(encoded: Encoded, cut: KnockOut) -> list[int]:
    """The pictures of which a cut hides the token, by number."""
    keys = set(cut.keys)
    return [number for number, layout in enumerate(encoded.layouts) if keys.issuperset(layout.positions.tolist())]


def without_pictures(
    mask: Float[Tensor, "B 1 n K"], hidden: Bool[Tensor, "B n I"]
) -> tuple[Float[Tensor, "B 1 n K"], Bool[Tensor, "B n"]]:
    """The cross-attention mask without the columns of `hidden` pictures, and the rows that lost all of theirs.

    Columns come picture by picture, as many for each.
    """
    least = torch.finfo(mask.dtype).min
    seen = mask[:, 0] > least / 2
    left = seen & ~hidden.repeat_interleave(mask.shape[-1] // hidden.shape[-1], dim=-1)
    empty = ~left.any(-1)
    # What an emptied row attends to does not matter, since its output is zeroed.
    blocked = ~left & ~empty[..., None]
    return mask.masked_fill(blocked[:, None], least), empty & hidden.any(-1)
