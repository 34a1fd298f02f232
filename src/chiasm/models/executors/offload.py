"""Weights that live on disk or in main memory are read once a walk, however often it calls a layer.

accelerate reads a module's weights before each of its calls and drops them after it. A walk calls every layer for the
clean rows and again for the variants, and everything before the layers twice.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from accelerate.hooks import AlignDevicesHook, SequentialHook
from torch import nn

from chiasm.models.view import ModelView


@contextmanager
def in_place(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Within: the offloaded weights that `modules` themselves own are read and stay."""
    with ExitStack() as stack:
        for module in modules:
            for hook in _offloading(module):
                hook.pre_forward(module)
                hook.offload = False
                stack.callback(_drop, module, hook)
        yield


def before_the_layers(view: ModelView) -> list[nn.Module]:
    """What the dry and the real walk both run: all but towers (computed once), layers, and the head."""
    apart = {id(m) for part in (*view.towers, *view.layers, view.head) for m in part.modules()}
    return [module for module in view.model.modules() if id(module) not in apart]


def hold_while_called(layer: nn.Module, stack: ExitStack) -> None:
    """Let `layer` keep its weights from its first call until that ends, so that its own hooks may call it again.

    To be called after those hooks were registered, for as long as `stack` is open.
    """
    own = list(layer.modules())
    open_calls: list[ExitStack] = []

    def take(module: nn.Module, args: Any) -> None:
        call = ExitStack()
        # The calls within find nothing left to read.
        call.enter_context(in_place(own))
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
