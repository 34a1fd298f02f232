"""Work that a walk would do several times, done once: perceptual encoders, and reading weights that are offloaded.

The dry walk, the real walk and the other questions on one image all ask for the same features. accelerate reads a
module's weights from disk or main memory before each of its calls and drops them after it, while a walk calls every
layer for the clean rows and again for the variants, and everything before the layers twice.
"""

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from accelerate.hooks import AlignDevicesHook, SequentialHook
from torch import Tensor, nn

from chiasm.models.frame import replaced_forward
from chiasm.models.view import ModelView


@contextmanager
def encoded_once(*modules: nn.Module) -> Iterator[None]:
    """Compute perceptual encoders once per distinct input while this is open; later calls return the same output."""
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
                return copy.copy(output)
        output = forward(*args, **kwargs)
        # Models write into the output they get (Qwen2-VL splits its features in placement): keep one nobody touches.
        seen.append((tensors, copy.copy(output)))
        return output

    return remembering


def _equal(a: Tensor, b: Tensor) -> bool:
    return a is b or (a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b))


@contextmanager
def weights_kept(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Within: the offloaded weights that `modules` themselves own are read and stay."""
    with ExitStack() as stack:
        for module in modules:
            for hook in _offloading(module):
                hook.pre_forward(module)
                hook.offload = False
                stack.callback(_drop, module, hook)
        yield


def modules_before_layers(view: ModelView) -> list[nn.Module]:
    """What the dry and the real walk both run: all but towers (computed once), layers, and the head."""
    others = {id(m) for part in (*view.towers, *view.layers, view.head) for m in part.modules()}
    return [module for module in view.model.modules() if id(module) not in others]


def keep_weights_while_called(layer: nn.Module, stack: ExitStack) -> None:
    """Let `layer` keep its weights from its first call until that ends, so that its own hooks may call it again.

    To be called after those hooks were registered, for as long as `stack` is open.
    """
    own = list(layer.modules())
    open_calls: list[ExitStack] = []

    def take(module: nn.Module, args: Any) -> None:
        call = ExitStack()
        # The calls within find nothing left to read.
        call.enter_context(weights_kept(own))
        open_calls.append(call)

    def give(module: nn.Module, args: Any, output: Any) -> None:
        open_calls.pop().close()

    if any(_offloading(module) for module in own):
        stack.callback(lambda: [call.close() for call in reversed(open_calls)])
        stack.callback(layer.register_forward_pre_hook(take, prepend=True).remove)
        stack.callback(layer.register_forward_hook(give).remove)


def _offloading(module: nn.Module) -> list[AlignDevicesHook]:
    hook = getattr(module, "_hf_hook", None)
    hooks = hook.hooks if isinstance(hook, SequentialHook) else [hook]
    return [one for one in hooks if isinstance(one, AlignDevicesHook) and one.offload]


def _drop(module: nn.Module, hook: AlignDevicesHook) -> None:
    hook.offload = True
    hook.post_forward(module, None)
