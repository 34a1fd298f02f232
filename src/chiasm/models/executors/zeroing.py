"""Zeroing the output of a branch at chosen rows, for the length of one call."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from jaxtyping import Bool
from torch import Tensor, nn

from chiasm.interventions.variant import Component
from chiasm.models.view import ModelView


def branch_of(view: ModelView, layer: nn.Module, component: Component) -> nn.Module:
    """The module whose output is added to the residual stream."""
    if component == "attention":
        return view.mixer_of(layer)
    return view.feed_forward_of(layer)[-1]


@contextmanager
def zeroed(view: ModelView, layer: nn.Module, rows: dict[Component, Bool[Tensor, "B T"]]) -> Iterator[None]:
    """Within: the named branches of `layer` give zero at the marked rows."""
    with ExitStack() as stack:
        for component, marked in rows.items():
            handle = branch_of(view, layer, component).register_forward_hook(_zero_hook(marked))
            stack.callback(handle.remove)
        yield


def _zero_hook(marked: Bool[Tensor, "B T"]) -> Any:
    def cleared(output: Tensor) -> Tensor:
        # Some branches see the rows of all examples as one list.
        return output.masked_fill(marked.reshape(output.shape[:-1])[..., None], 0)

    def hook(module: nn.Module, args: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (cleared(output[0]), *output[1:])
        return cleared(output)

    return hook
