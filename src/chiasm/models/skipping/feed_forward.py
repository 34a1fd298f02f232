"""A feed-forward branch computed for some rows only: they are gathered before its norm and put back behind it.

Shape legend: B examples, T rows of the forward, K rows that compute (of R = B x T), D width.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from chiasm.core.errors import ChiasmError
from chiasm.interventions.skips import Form, SkipPart
from chiasm.models.executors.frame import replaced_forward
from chiasm.models.view import ModelView


@final
@dataclass(frozen=True, slots=True)
class FeedForwardSkips:
    """What one layer's branch is to leave out, asked anew in every forward.

    `parts`: the parts and forms of the skips in this layer. `kept`: the rows that compute, counted through the batch,
    or None for all. `layer_input`: what the branch reads in place of its own input, or None. `released`: whether a
    skip of that part in its released form acts in this forward.
    """

    parts: set[tuple[SkipPart, Form]]
    kept: Callable[[], Int[Tensor, " K"] | None]
    layer_input: Callable[[], Float[Tensor, "B T D"] | None]
    released: Callable[[SkipPart], bool]


class FeedForward(NamedTuple):
    """Where rows enter the branch of a layer and where they leave it.

    `norm`: read by nobody else; None where names do not tell. `entry`: the first module, the norm where there is one;
    None where it is `exit` itself. `exit`: its output is added to the residual stream.
    """

    norm: nn.Module | None
    entry: nn.Module | None
    exit: nn.Module


def feed_forward_of(view: ModelView, layer: nn.Module) -> FeedForward:
    """The branch of `layer`, be it a module or, as in OPT, two matrices in the layer itself."""
    children = dict(layer.named_children())
    if view.has_mlp(layer):
        norm = _norm_before(children)
        return FeedForward(norm, norm, view.mlp_of(layer))
    _, second = view.feed_forward_of(layer)
    # The smallest OPT normalises behind its branches, so that rows enter at the first matrix.
    norm = children["final_layer_norm"] if layer.do_layer_norm_before else None
    return FeedForward(norm, children["fc1"] if norm is None else norm, second)


def replace_feed_forward(view: ModelView, layer: nn.Module, skips: FeedForwardSkips, stack: ExitStack) -> None:
    """Until `stack` closes the branch of `layer`, its norm included, computes the kept rows; others get zero.

    **Errors:** `ChiasmError` for a skip that needs a norm which is not found.
    """
    branch, first = feed_forward_of(view, layer), dict(layer.named_children()).get("input_layernorm")
    parallel = any(part == "parallel" for part, _ in skips.parts)
    needs_norm = parallel or ("ffn", "released") in skips.parts
    if (branch.norm is None and needs_norm) or (first is None and ("parallel", "released") in skips.parts):
        found = f"the norms around its branches are not found among {', '.join(dict(layer.named_children()))}"
        raise ChiasmError(f"such a skip in {type(layer).__name__}", found, "Use another part")
    run_exit = branch.exit.forward
    run_entry = branch.entry.forward if branch.entry is not None else None
    # Released form of `ffn`: what stands where nothing should be added.
    instead: list[Tensor | None] = [None]
    # The shape before the entry took rows away; None while rows are all there.
    whole: list[torch.Size | None] = [None]
    # What some branches of experts return beside the rows, as the scores of their router.
    beside: list[Any] = [None] if getattr(layer, "is_moe_layer", False) else []

    def entered(hidden: Float[Tensor, "... D"]) -> Tensor:
        assert run_entry is not None
        given = skips.layer_input()
        if given is not None:
            hidden = given.reshape(hidden.shape)
            if first is not None and skips.released("parallel"):
                return first(hidden)
        kept = skips.kept()
        if kept is None:
            return run_entry(hidden)
        whole[0] = hidden.shape
        if skips.released("ffn"):
            instead[0] = _flat(run_entry(hidden))
        return run_entry(_flat(hidden).index_select(0, kept.to(hidden.device))[None])

    def left(hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
        kept, shape = skips.kept(), whole[0]
        if kept is None:
            return run_exit(hidden, *args, **kwargs)
        kept = kept.to(hidden.device)
        own = _flat(hidden).index_select(0, kept)[None] if shape is None else hidden
        shape, whole[0] = shape or hidden.shape, None
        result = hidden.new_zeros(shape[:-1].numel(), shape[-1]) if instead[0] is None else instead[0].clone()
        instead[0] = None
        if len(kept):
            made = run_exit(own, *args, **kwargs)
            if isinstance(made, tuple):
                made, *beside[:] = made
            result.index_copy_(0, kept, _flat(made))
        return (result.view(shape), *beside) if beside else result.view(shape)

    stack.enter_context(replaced_forward(branch.exit, left))
    if branch.entry is not None:
        stack.enter_context(replaced_forward(branch.entry, entered))


def _flat(hidden: Float[Tensor, "... D"]) -> Float[Tensor, "R D"]:
    return hidden.reshape(-1, hidden.shape[-1])


def _norm_before(children: dict[str, nn.Module]) -> nn.Module | None:
    """The norm whose output only the feed-forward reads; None where the names do not tell."""
    for name in ("pre_feedforward_layernorm", "ffn_norm"):
        if name in children:
            return children[name]
    # With a norm behind the feed-forward and none before, this name means the norm behind attention.
    return None if "post_feedforward_layernorm" in children else children.get("post_attention_layernorm")
