"""2:4 masks through the sparse tensor cores of a GPU: the one pattern that is faster where it is computed densely."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn
from torch.sparse import to_sparse_semi_structured

from chiasm.core.errors import ChiasmError
from chiasm.models.pruning.weights import WeightMask, masked
from chiasm.models.view import ModelView


@contextmanager
def semi_structured(view: ModelView, mask: WeightMask) -> Iterator[None]:
    """While open, the masked matrices are stored and multiplied as 2:4 sparse; then the dense ones are back.

    Source: Mishra et al. 2021 (arXiv 2104.08378); torch's `to_sparse_semi_structured`.

    **Errors:** `ChiasmError` where the kernels do not exist: a CPU, a GPU before compute capability 8.0, a pattern
    other than 2:4, single precision, or a shape that they do not take.
    """
    _require_kernels(view, mask)
    with masked(view, mask) as there, ExitStack() as stack:
        for matrix in there.values():
            dense = matrix.linear.weight
            stack.callback(setattr, matrix.linear, "weight", dense)
            sparse = to_sparse_semi_structured(dense.detach())
            matrix.linear.weight = nn.Parameter(sparse, requires_grad=False)
        yield


def _require_kernels(view: ModelView, mask: WeightMask) -> None:
    asked = f"compute `{view.name}` with sparse kernels"
    if mask.spec.pattern != "2:4":
        raise ChiasmError(asked, f"the mask's pattern is {mask.spec.pattern}", "Make a mask with the pattern 2:4")
    if view.device.type != "cuda":
        found = f"it is on the {view.device.type}, for which there are none"
        raise ChiasmError(asked, found, "Load it on a GPU; elsewhere a mask saves no time")
    capability = torch.cuda.get_device_capability(view.device)
    if capability < (8, 0):
        found = f"the GPU has compute capability {capability[0]}.{capability[1]}"
        raise ChiasmError(asked, found, "Use a GPU of capability 8.0 or later")
    if view.dtype not in (torch.float16, torch.bfloat16):
        raise ChiasmError(asked, f"its weights are {view.dtype}", "Load it in bfloat16 or float16")
    odd = [name for name, shape in mask.shapes.items() if shape[0] % 32 or shape[1] % 64]
    if odd:
        found = f"`{odd[0]}` is {mask.shapes[odd[0]]}, where they take multiples of 32 by 64"
        raise ChiasmError(asked, found, "Prune without them")
