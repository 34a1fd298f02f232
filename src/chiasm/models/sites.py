"""Named places inside a decoder block, found by what one recorded forward hands on, not by family."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from chiasm.models.encoding.encoded import Encoded
from chiasm.models.executors.frame import keep_logits
from chiasm.models.view import ModelView

Site = Literal["residual", "norm1", "attention", "attention_added", "norm2", "gate_up", "down"]
SITES: tuple[Site, ...] = get_args(Site)
"""The residual stream before a block, then in the order of the block: after the first norm, after attention, after it
was added, after the second norm, the gated product that the last projection reads, and that projection's output."""


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where a site is read: the input or the output of a module."""

    module: nn.Module
    side: Literal["input", "output"]


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """One decoder layer. `places`: its sites, without those that this architecture does not have.

    `linears`: the matrices that every token passes, by name within the layer; those that read one tensor share a tuple.
    """

    layer: nn.Module
    places: Mapping[str, Place]
    linears: tuple[tuple[str, ...], ...]

    def matrices(self) -> tuple[nn.Linear, ...]:
        """All of `linears`."""
        return tuple(self.matrix(name) for names in self.linears for name in names)

    def matrix(self, name: str) -> nn.Linear:
        """The matrix called `name`."""
        found = self.layer.get_submodule(name)
        assert isinstance(found, nn.Linear)
        return found


@dataclass(slots=True, eq=False)
class _Call:
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

    hooks = [
        module.register_forward_hook(_recorder(calls, name), with_kwargs=True)
        for layer in view.layers
        for name, module in layer.named_modules()
        if name
    ]
    hooks += [layer.register_forward_hook(finish) for layer in view.layers]
    try:
        with view.readable_attention():
            view.model(**encoded.inputs, **keep_logits(view, slice_to=1), use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return tuple(found)


def _recorder(calls: list[_Call], name: str) -> Any:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        given, gave = first_tensor((*args, *kwargs.values())), first_tensor(output)
        if given is not None and gave is not None:
            calls.append(_Call(name, module, given, gave))

    return hook


def first_tensor(values: Any) -> Tensor | None:
    """The hidden states among what a module takes or gives: the first tensor of three axes or more."""
    if isinstance(values, Tensor):
        return values if values.is_floating_point() else None
    for value in values:
        if isinstance(value, Tensor) and value.is_floating_point() and value.ndim >= 2:
            return value
    return None


def _block(view: ModelView, layer: nn.Module, calls: list[_Call]) -> Block:
    attention = view.mixer_of(layer)
    places: dict[str, Place] = {"attention": Place(attention, "output")}
    # Where the branch is no module, its matrices see the rows of all examples as one list: no states of the sequence.
    mlp = view.mlp_of(layer) if view.has_mlp(layer) else None
    if mlp is not None:
        places["down"] = Place(mlp, "output")
    into = {call.module: call.given for call in calls if call.module in (attention, mlp)}
    norms = [call for call in calls if "." not in call.name and "norm" in type(call.module).__name__.lower()]
    first = next((n for n in norms if attention in into and _same(n.gave, into[attention])), None)
    second = next((n for n in norms if mlp is not None and mlp in into and _same(n.gave, into[mlp])), None)
    if first is not None:
        places["norm1"] = Place(first.module, "output")
    if second is not None and (first is None or second.module is not first.module):
        places |= {"norm2": Place(second.module, "output"), "attention_added": Place(second.module, "input")}
    inside = set() if mlp is None else set(mlp.modules())
    products = [call for call in calls if call.module in inside and isinstance(call.module, nn.Linear)]
    # Experts see some of the tokens only: their inputs are not states of the sequence.
    products = [call for call in products if call.given.shape[:-1] == calls[0].given.shape[:-1]]
    if products:
        places["gate_up"] = Place(products[-1].module, "input")
    return Block(layer, {site: places[site] for site in SITES if site in places}, _shared_inputs(calls))


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
