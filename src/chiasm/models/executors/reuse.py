"""Work that a walk would do several times, done once: perceptual encoders, and making weights ready.

The dry walk, the real walk and the other questions on one image all ask for the same features. accelerate reads a
module's weights from disk or main memory before each of its calls and drops them after it, while a walk calls every
layer for the clean rows and again for the variants, and everything before the layers twice.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from chiasm.models.view import ModelView
from chiasm.models.weights import replaced_forward


@contextmanager
def encoded_once(*modules: nn.Module) -> Iterator[None]:
    """Compute perceptual encoders once per distinct input while this is open; later calls return the same values."""
    with ExitStack() as stack:
        for module in modules:
            stack.enter_context(replaced_forward(module, _remembering(module.forward)))
        yield


def _remembering(forward: Callable[..., Any]) -> Callable[..., Any]:
    seen: list[tuple[list[Tensor], Any]] = []

    def remembering(*args: Any, **kwargs: Any) -> Any:
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        for known, output in seen:
            if len(known) == len(tensors) and all(_equal(a, b) for a, b in zip(known, tensors, strict=True)):
                return _apart(output)
        output = forward(*args, **kwargs)
        # Models write into the output they get (Qwen2-VL splits its features in place), and into its tensors (Gemma 3n
        # scales them): keep one that nobody touches.
        seen.append((tensors, _apart(output)))
        return output

    return remembering


def _apart(output: Any) -> Any:
    """A copy that shares no tensor with `output`."""
    if isinstance(output, Tensor):
        return output.clone()
    if isinstance(output, Mapping):
        found: Any = copy.copy(output)
        for name, value in output.items():
            found[name] = _apart(value)
        return found
    if isinstance(output, tuple | list):
        values = [_apart(value) for value in output]
        return type(output)(*values) if hasattr(output, "_fields") else type(output)(values)
    return output


def _equal(a: Tensor, b: Tensor) -> bool:
    return a is b or (a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b))


def modules_before_layers(view: ModelView) -> list[nn.Module]:
    """What the dry and the real walk both run: all but towers (computed once), layers, and the head."""
    others = {id(m) for part in (*view.towers, *view.layers, view.head) for m in part.modules()}
    return [module for module in view.model.modules() if id(module) not in others]
