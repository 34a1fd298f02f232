"""Weights made ready while a part of a model is called: read from where they are offloaded, and raised to float32.

Decoder layers and the head are ready one at a time, each from its call to the end of it. All else (towers, projector,
norms, learned tokens) is ready as long as the model is in use, since model code asks for its type before it calls it.
Everything is put back, to the very tensors that were there, also behind an exception.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import wraps
from typing import Any

import torch
from accelerate.hooks import AlignDevicesHook, SequentialHook
from torch import Tensor, nn

from chiasm.models.precision import is_half, is_rounded


@contextmanager
def replaced_forward(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Let `module` run `forward` instead of its own; hooks around it (offloading among them) stay in force."""
    # accelerate keeps its own wrapper in the instance dictionary: put back exactly what was there.
    before = module.__dict__.get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if before is None:
            del module.forward
        else:
            module.forward = before


@contextmanager
def raised_model(
    models: Sequence[nn.Module], layers: Iterable[nn.Module], head: nn.Module, embeddings: nn.Module
) -> Iterator[None]:
    """Within: a model computes in float32 with its half-precision weights; `layers` and `head` are raised in turn.

    `models`: the whole model, and what a wrapper around it wraps; their inputs are raised too. A table of embeddings is
    never copied: raising the vectors that it gives is the same.
    """
    in_turn = [*layers, head, *([embeddings] if type(embeddings) is nn.Embedding else [])]
    others = _all_but(models[0], in_turn)
    with ExitStack() as stack:
        stack.enter_context(ready(others, raise_weights=True))
        for part in in_turn:
            forward = part.forward
            computed = _raised_output(forward) if part is embeddings else _raised_call(part, forward)
            stack.enter_context(replaced_forward(part, computed))
        for model in models:
            stack.enter_context(replaced_forward(model, _raised_inputs(model.forward)))
        yield


def _all_but(model: nn.Module, parts: Iterable[nn.Module]) -> list[nn.Module]:
    inside = {id(module) for part in parts for module in part.modules()}
    return [module for module in model.modules() if id(module) not in inside]


def _raised_inputs(forward: Callable[..., Any]) -> Callable[..., Any]:
    # Generation reads the signature.
    @wraps(forward)
    def call(*args: Any, **kwargs: Any) -> Any:
        raised = {name: value.float() for name, value in kwargs.items() if is_rounded(value) and is_half(value)}
        return forward(*args, **(kwargs | raised))

    return call


def _raised_output(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def vectors(*args: Any, **kwargs: Any) -> Tensor:
        found = forward(*args, **kwargs)
        return found.float() if is_half(found) else found

    return vectors


def _raised_call(part: nn.Module, forward: Callable[..., Any]) -> Callable[..., Any]:
    own = list(part.modules())

    def call(*args: Any, **kwargs: Any) -> Any:
        with ready(own, raise_weights=True):
            return forward(*args, **kwargs)

    return call


@contextmanager
def ready(modules: Sequence[nn.Module], *, raise_weights: bool) -> Iterator[None]:
    """Within: the weights that `modules` themselves own are in memory, and in float32 at least if they are raised."""
    with weights_kept(modules), _raised(modules) if raise_weights else nullcontext():
        yield


@contextmanager
def _raised(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Within: the half-precision weights that `modules` themselves own are replaced by float32 copies.

    Gradients flow through: what autograd keeps of a copy is the weight itself, which is raised again behind it.
    """
    with ExitStack() as stack:
        copies: dict[int, _RaisedWeight] = {}
        for module in modules:
            for tensors in (module._parameters, module._buffers):
                for name, tensor in tensors.items():
                    if tensor is None or tensor.is_meta or not is_half(tensor):
                        continue
                    if id(tensor) not in copies:
                        copies[id(tensor)] = _RaisedWeight(tensor)
                    stack.callback(tensors.__setitem__, name, tensor)
                    tensors[name] = copies[id(tensor)].copy
        if copies and torch.is_grad_enabled():
            stack.enter_context(_keeping_weights(copies.values()))
        yield


class _Copy(nn.Parameter):
    """A raised parameter, which knows what it is a copy `of`."""

    of: Tensor

    def __new__(cls, data: Tensor, *, of: Tensor) -> "_Copy":
        copy = super().__new__(cls, data, requires_grad=False)
        copy.of = of
        return copy


def kept_weight(parameter: Tensor) -> Tensor:
    """The weight that stays in memory: `parameter` itself, or what it is a raised copy of."""
    return parameter.of if isinstance(parameter, _Copy) else parameter


class _RaisedWeight:
    """A half-precision tensor beside its float32 copy, of the same class."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor.detach()
        copy = self.tensor.float()
        self.copy = _Copy(copy, of=tensor) if isinstance(tensor, nn.Parameter) else copy

    @property
    def storage(self) -> int:
        return self.copy.untyped_storage().data_ptr()


def _keeping_weights(copies: Iterable[_RaisedWeight]) -> torch.autograd.graph.saved_tensors_hooks:
    """Let autograd hold half-precision weights in place of their float32 copies, which would add up over layers."""
    by_storage = {one.storage: one.tensor for one in copies}

    def pack(saved: Tensor) -> Any:
        tensor = by_storage.get(saved.untyped_storage().data_ptr()) if saved.dtype == torch.float32 else None
        return saved if tensor is None else (tensor, saved.shape, saved.stride(), saved.storage_offset())

    def unpack(packed: Any) -> Tensor:
        if isinstance(packed, Tensor):
            return packed
        tensor, *place = packed
        return tensor.float().as_strided(*place)

    return torch.autograd.graph.saved_tensors_hooks(pack, unpack)


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


@contextmanager
def float32_products(*, tf32: bool) -> Iterator[None]:
    """Within: products of float32 numbers are float32's, whatever the process has set; `tf32`: on a GPU their factors
    are rounded to TF32 (10 bits of mantissa).
    """
    cuda, cudnn, cpu = torch.backends.cuda.matmul, torch.backends.cudnn, torch.backends.mkldnn
    settings: list[tuple[Any, str, Any]]
    if hasattr(cuda, "fp32_precision"):
        # The former switches cannot be read once a user has written to these; these always can.
        on_gpu = "tf32" if tf32 else "ieee"
        settings = [(one, "fp32_precision", on_gpu) for one in (cuda, cudnn.conv)]
        settings += [(one, "fp32_precision", "ieee") for one in (cpu.matmul, cpu.conv)]
    else:  # torch before 2.9
        settings = [(one, "allow_tf32", tf32) for one in (cuda, cudnn)]
    before = [(one, name, getattr(one, name)) for one, name, _ in settings]
    try:
        for one, name, value in settings:
            setattr(one, name, value)
        yield
    finally:
        for one, name, value in before:
            setattr(one, name, value)


def ready_while_called(layer: nn.Module, stack: ExitStack, *, raise_weights: bool) -> None:
    """Keep `layer` ready from its first call until that ends, so that its own hooks may call it again at no cost.

    To be called after those hooks were registered, for as long as `stack` is open.
    """
    own = list(layer.modules())
    open_calls: list[ExitStack] = []

    def take(module: nn.Module, args: Any) -> None:
        call = ExitStack()
        # The calls within find nothing left to read, nor to raise.
        if not open_calls:
            call.enter_context(ready(own, raise_weights=raise_weights))
        open_calls.append(call)

    def give(module: nn.Module, args: Any, output: Any) -> None:
        open_calls.pop().close()

    if raise_weights or any_offloaded(own):
        stack.callback(lambda: [call.close() for call in reversed(open_calls)])
        stack.callback(layer.register_forward_pre_hook(take, prepend=True).remove)
        stack.callback(layer.register_forward_hook(give).remove)


def any_offloaded(modules: Sequence[nn.Module]) -> bool:
    """Whether weights of `modules` are read anew for every call."""
    return any(_offloading(module) for module in modules)


def _offloading(module: nn.Module) -> list[AlignDevicesHook]:
    hook = getattr(module, "_hf_hook", None)
    hooks = hook.hooks if isinstance(hook, SequentialHook) else [hook]
    return [one for one in hooks if isinstance(one, AlignDevicesHook) and one.offload]


def _drop(module: nn.Module, hook: AlignDevicesHook) -> None:
    hook.offload = True
    hook.post_forward(module, None)
