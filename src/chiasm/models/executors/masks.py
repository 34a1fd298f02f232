"""Reading and writing the attention masks that transformers hands to decoder layers.

A mask is normalised to booleans, True where a row may attend. Three forms occur: None under sdpa means causal;
4-D bool; 4-D float with `finfo.min` where blocked. Anything else is refused rather than guessed.
"""

from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from chiasm.core.errors import ChiasmError, ExampleError


def allowed_rows(
    mask: Any, rows: Int[Tensor, " n"], length: int, batch: int, implementation: str
) -> Bool[Tensor, "B n T"]:
    """The columns that `rows` may attend to under a recorded layer mask, for a sequence of `length` positions."""
    if mask is None:
        if implementation != "sdpa":
            raise _unreadable(mask, implementation)
        columns = torch.arange(length, device=rows.device)
        return (columns[None, :] <= rows[:, None]).expand(batch, -1, -1)
    if not isinstance(mask, Tensor) or mask.ndim != 4 or mask.shape[-2:] != (length, length):
        raise _unreadable(mask, implementation)
    if mask.shape[1] != 1:
        raise ChiasmError("reading the attention mask", "its heads differ", "Such a model is not supported")
    picked = mask[:, 0].index_select(1, rows)
    if picked.dtype != torch.bool:
        picked = picked > torch.finfo(picked.dtype).min / 2
    return picked.expand(batch, -1, -1)


def as_layer_mask(
    allowed: Bool[Tensor, "B n C"], implementation: str, dtype: torch.dtype
) -> Bool[Tensor, "B 1 n C"] | Tensor:
    """The form the attention implementation understands: eager silently adds a bool mask as 0/1, so it gets floats."""
    mask = allowed[:, None]
    if implementation == "sdpa":
        return mask
    blocked = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
    return blocked.masked_fill_(~mask, torch.finfo(dtype).min)


def require_keys(allowed: Bool[Tensor, "B n C"], what: str) -> None:
    """Refuse rows without any key: implementations disagree on what they then attend to.

    **Errors:** `ExampleError` naming the cut.
    """
    if not bool(allowed.any(-1).all()):
        raise ExampleError(f"{what} leaves a position nothing to attend to; cut fewer source spans")


def _unreadable(mask: Any, implementation: str) -> ChiasmError:
    shape = tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
    return ChiasmError(
        "reading the attention mask",
        f"the `{implementation}` implementation passes {shape} to its layers",
        "Load the model with attn_implementation='sdpa'",
    )
