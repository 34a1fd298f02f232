"""Named sites inside the decoder's blocks, and hooks that hand on what passes there or change what a block is given.

Sites are found by what one recorded forward hands on, not by family.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, get_args

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from chiasm.models.encoded import Encoded
from chiasm.models.frame import change_arguments, keep_logits, layer_arguments, layer_output
from chiasm.models.masks import allowed_rows, as_layer_mask
from chiasm.models.view import ModelView

Site = Literal["residual", "norm1", "attention", "attention_added", "norm2", "gate_up", "down"]
SITES: tuple[Site, ...] = get_args(Site)
"""The residual stream before a block, then in the order of the block: after the first norm, after attention, after it
was added, after the second norm, the gated product that the last projection reads, and that projection's output."""


@dataclass(frozen=True, slots=True, eq=False)
class HookPoint:
    """Where a site is read: the input or the output of a module."""

    module: nn.Module
    side: Literal["input", "output"]


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """One decoder layer. `sites`: its sites, without those that this architecture does not have.

    `linears`: the matrices that every token passes, by name within the layer; those that read one tensor share a tuple.
    """

    layer: nn.Module
    sites: Mapping[str, HookPoint]
    linears: tuple[tuple[str, ...], ...]

    def matrices(self) -> tuple[nn.Linear, ...]:
        """All of `linears`."""
        return tuple(self.matrix(name) for names in self.linears for name in names)

    def matrix(self, name: str) -> nn.Linear:
        """The matrix called `name`."""
        found = self.layer.get_submodule(name)
        assert isinstance(found, nn.Linear)
        return found


class _Call(NamedTuple):
    """A module's call, by its name within the layer: the states it was given and gave back."""

    name: str
    module: nn.Module
    given: Tensor
    gave: Tensor


@torch.no_grad()
def find_blocks(view: ModelView, encoded: Encoded) -> tuple[Block, ...]:
    """The blocks of the decoder, from one recorded forward on `encoded`.

    A norm belongs to the branch that reads its very output, so norms after a branch (Gemma) are not mistaken for the
    norms before the next one. In blocks whose branches run side by side, `norm2` and `attention_added` do not exist.
    """
    found: list[Block] = []
    calls: list[_Call] = []

    def finish(layer: nn.Module, args: Any, output: Any) -> None:
        found.append(_block(view, layer, calls))
        # Nothing recorded in one layer is held while the next one runs.
        calls.clear()

    with ExitStack() as stack:
        for layer in view.layers:
            for name, module in layer.named_modules():
                if name:
                    record = partial(_record, calls, name)
                    stack.enter_context(module.register_forward_hook(record, with_kwargs=True))
            stack.callback(layer.register_forward_hook(finish).remove)
        stack.enter_context(view.readable_attention())
        view.model(**encoded.inputs, **keep_logits(view, slice_to=1), use_cache=False)
    return tuple(found)


def _record(
    calls: list[_Call], name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
) -> None:
    given, gave = first_tensor((*args, *kwargs.values())), first_tensor(output)
    if given is not None and gave is not None:
        calls.append(_Call(name, module, given, gave))


def first_tensor(values: Any) -> Tensor | None:
    """The hidden states among what a module takes or gives: the first tensor of three axes or more."""
    if isinstance(values, Tensor):
        return values if values.is_floating_point() else None
    for value in values:
        if isinstance(value, Tensor) and value.is_floating_point() and value.ndim >= 2:
            return value
    return None


def _block(view: ModelView, layer: nn.Module, calls: list[_Call]) -> Block:
    attention = view.mixer_of(layer) if view.has_branch(layer, "attention") else None
    sites: dict[str, HookPoint] = {}
    if attention is not None:
        sites["attention"] = HookPoint(attention, "output")
    # Where the branch is no module, its matrices see the rows of all examples as one list: no states of the sequence.
    mlp = view.mlp_of(layer) if view.has_mlp(layer) else None
    if mlp is not None:
        sites["down"] = HookPoint(mlp, "output")
    into = {call.module: call.given for call in calls if call.module in (attention, mlp)}
    norms = [call for call in calls if "." not in call.name and "norm" in type(call.module).__name__.lower()]
    first, second = (
        next((n for n in norms if branch in into and _same(n.gave, into[branch])), None) if branch is not None else None
        for branch in (attention, mlp)
    )
    if first is not None:
        sites["norm1"] = HookPoint(first.module, "output")
    if second is not None and (first is None or second.module is not first.module):
        sites |= {"norm2": HookPoint(second.module, "output"), "attention_added": HookPoint(second.module, "input")}
    inside = set() if mlp is None else set(mlp.modules())
    products = [call for call in calls if call.module in inside and isinstance(call.module, nn.Linear)]
    # Experts see some of the tokens only: their inputs are not states of the sequence.
    products = [call for call in products if call.given.shape[:-1] == calls[0].given.shape[:-1]]
    if products:
        sites["gate_up"] = HookPoint(products[-1].module, "input")
    return Block(layer, {site: sites[site] for site in SITES if site in sites}, _shared_inputs(calls))


def _shared_inputs(calls: list[_Call]) -> tuple[tuple[str, ...], ...]:
    groups: list[tuple[Tensor, list[str]]] = []
    for call in calls:
        if not isinstance(call.module, nn.Linear) or call.given.shape[:-1] != calls[0].given.shape[:-1]:
            continue
        for given, names in groups:
            if _same(given, call.given):
                names.append(call.name)
                break
        else:
            groups.append((call.given, [call.name]))
    return tuple(tuple(names) for _, names in groups)


def _same(a: Tensor, b: Tensor) -> bool:
    return a is b or (a.shape == b.shape and a.dtype == b.dtype and a.device == b.device and torch.equal(a, b))


def hook_sites(
    view: ModelView,
    blocks: Sequence[Block],
    sites: frozenset[str],
    receive: Callable[[int, str, Tensor], None],
    stack: ExitStack,
) -> None:
    """Call `receive(layer, site, states)` at every residual state and at `sites`, for as long as `stack` is open."""

    def before(index: int, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        receive(index, "residual", layer_arguments(layer, args, kwargs)[0])

    def after(layer: nn.Module, args: Any, output: Any) -> None:
        receive(len(view.layers), "residual", layer_output(output))

    # The residual stream is always read: it shows whether an example's states are sound.
    for index, layer in enumerate(view.layers):
        stack.enter_context(layer.register_forward_pre_hook(partial(before, index), with_kwargs=True))
    stack.callback(view.layers[-1].register_forward_hook(after).remove)
    for index, block in enumerate(blocks):
        for site in sites & block.sites.keys():
            _hook_point(block.sites[site], lambda states, i=index, s=site: receive(i, s, states), stack)


def _hook_point(point: HookPoint, receive: Callable[[Tensor], None], stack: ExitStack) -> None:
    def into(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        receive(_states((*args, *kwargs.values()), module))

    def out(module: nn.Module, args: Any, output: Any) -> None:
        receive(_states(output, module))

    if point.side == "input":
        stack.callback(point.module.register_forward_pre_hook(into, with_kwargs=True).remove)
    else:
        stack.callback(point.module.register_forward_hook(out).remove)


def hook_inputs(
    blocks: Sequence[Block], receive: Callable[[int, tuple[str, ...], Tensor], None], stack: ExitStack
) -> None:
    """Call `receive(layer, names, input)` at what the matrices called `names` read, for as long as `stack` is open."""
    for index, block in enumerate(blocks):
        for names in block.linears:
            point = HookPoint(block.matrix(names[0]), "input")
            _hook_point(point, lambda states, i=index, n=names: receive(i, n, states), stack)


def replace_embeddings(view: ModelView, change: Callable[[Tensor], Tensor], stack: ExitStack) -> None:
    """Let the first block read what `change` makes of its input, for as long as `stack` is open."""

    # Before the hooks that read, so that they see what is put in.
    change_arguments(view.layers[0], lambda hidden, named: (change(hidden), named), stack, first=True)


def isolate_modalities(
    view: ModelView, blocks: int, perceptual: Bool[Tensor, "B T"], real: Bool[Tensor, "B T"], stack: ExitStack
) -> None:
    """Let no perceptual token attend to another kind, nor the other way, in the first `blocks` blocks.

    Source: the code released with Shukor & Cord 2024 (`unimodal_attention_mask`).
    """
    across = (perceptual[:, :, None] != perceptual[:, None, :]) & real[:, :, None] & real[:, None, :]

    def isolate(hidden: Tensor, named: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        size, length = hidden.shape[:2]
        kind = view.attention_implementation
        rows = torch.arange(length, device=hidden.device)
        allowed = allowed_rows(named.get("attention_mask"), rows, length, size, kind) & ~across.to(hidden.device)
        return hidden, named | {"attention_mask": as_layer_mask(allowed, kind, hidden.dtype)}

    for layer in view.layers[:blocks]:
        change_arguments(layer, isolate, stack)


def _states(values: Any, module: nn.Module) -> Tensor:
    found = first_tensor(values)
    assert found is not None, f"{type(module).__name__} handles no states"
    return found
