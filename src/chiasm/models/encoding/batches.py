"""Several encoded examples as one batch, as a processor itself would make it."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from chiasm.core.errors import UnbatchableError
from chiasm.models.encoded import Encoded
from chiasm.models.families.base import Family


def encode_batch(
    processor: Any,
    family: Family,
    config: Any,
    encoded: Sequence[Encoded],
    *,
    device: torch.device | str | None = None,
) -> dict[str, Any]:
    """Several encoded examples as one batch with padding on the left, as the processor itself would make it.

    Nothing is tokenised or resized again: rows are padded, and what belongs to images is put one after the other,
    zero-padded where its other sizes differ (as tiles of any-resolution processors).
    """
    pad = processor.tokenizer.pad_token_id
    fill = {"input_ids": processor.tokenizer.eos_token_id if pad is None else pad}
    length = max(e.length for e in encoded)
    batch = {}
    # An example without images lacks their keys.
    for key in dict.fromkeys(key for e in encoded for key in e.inputs):
        parts = [e.inputs[key] for e in encoded if key in e.inputs]
        axis = family.concatenation_axes.get(key, 0)
        if key in family.switches:
            batch[key] = parts[0]
            continue
        if not isinstance(parts[0], Tensor):
            # One entry for each input, in order.
            batch[key] = [entry for part in parts for entry in part]
            continue
        if key in family.row_inputs:
            parts = [
                F.pad(rows, (0, 0) * (rows.ndim - 2) + (length - rows.shape[1], 0), value=fill.get(key, 0))
                for rows in parts
            ]
        elif axis == 0 and key == "pixel_values_videos" and len({part.shape[1:] for part in parts}) > 1:
            # Zeros would be frames to the model.
            raise UnbatchableError(
                "a batch of videos",
                f"`{family.name}` takes videos of one length together, and these differ",
                f"Give --batch-size 1, or videos of at least {family.max_frames} frames",
            )
        if axis == 0:
            parts = _same_size(parts)
        else:
            # One row for all: side by side, the second clip of one example would come behind the first of the next.
            parts = [part if len(part) == 1 else part.flatten(0, axis).unsqueeze(0) for part in parts]
        batch[key] = torch.cat(parts, dim=axis).to(device)
    return batch


def _same_size(parts: Sequence[Tensor]) -> list[Tensor]:
    """`parts` zero-padded at the end of every axis but the first to their largest size."""
    sizes = [max(part.shape[axis] for part in parts) for axis in range(1, parts[0].ndim)]
    padding = [
        [side for n, m in zip(reversed(part.shape[1:]), reversed(sizes)) for side in (0, m - n)] for part in parts
    ]
    return [F.pad(part, pad) for part, pad in zip(parts, padding)]
