"""Computing in float64 throughout: norms, rotary embeddings and softmax upcast to float32 by name."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import torch


@contextmanager
def no_upcasts(dtype: torch.dtype) -> Iterator[None]:
    """While open, a float64 model's explicit float32 is float64 too; models of other types are left alone.

    Without this a `.double()` model is not a float64 computation: float32 roundings flip (1e-7), or hide differences.
    """
    if dtype != torch.float64:
        yield
        return
    names = (patch.object(torch, name, torch.float64) for name in ("float32", "float"))
    with ExitStack() as stack:
        for one in (*names, patch.object(torch.Tensor, "float", torch.Tensor.double)):
            stack.enter_context(one)
        yield
