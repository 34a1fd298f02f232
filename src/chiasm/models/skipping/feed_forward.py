"""A feed-forward branch computed for some rows only: they are gathered before its norm and put back behind it.

Shape legend: B examples, T rows of the forward, K rows that compute (of R = B x T), D width.
"""

import inspect
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from chiasm.core.errors import ChiasmError
from chiasm.interventions.skips import Form, SkipPart
from chiasm.models.view import ModelView
from chiasm.models.weights import replaced_forward


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


class _BranchModules(NamedTuple):
    """Where rows enter the branch of a layer and where they leave it.

    `norm`: read by nobody else; None where names do not say. `entry`: the first module, the norm where there is one;
    None where it is `exit` itself. `exit`: its output is added to the residual stream.
    """

    norm: nn.Module | None
    entry: nn.Module | None
    exit: nn.Module


def replace_feed_forward(view: ModelView, layer: nn.Module, skips: FeedForwardSkips, stack: ExitStack) -> None:
    """Until `stack` closes the branch of `layer`, its norm included, computes the kept rows; others get zero.

    **Errors:** `ChiasmError` for a skip that needs a norm which is not found.
    """
    children = dict(layer.named_children())
    branch, attention_norm = _branch_of(view, layer), children.get("input_layernorm")
    given = list(inspect.signature(type(branch.exit).forward).parameters)[1:]
    if "residual" in given:
        found = f"it takes {' and '.join(given)}, and adds the second itself"
        raise ChiasmError(f"leaving rows out of {type(branch.exit).__name__}", found, "Skip attention branches instead")
    rowwise = [f"`{name}`" for name in given[1:] if name.endswith(("_ids", "_mask"))]
    if rowwise:
        found = f"it takes {', '.join(rowwise)} beside the states, with an entry for every row of the sequence"
        raise ChiasmError(f"leaving rows out of {type(branch.exit).__name__}", found, "Skip attention branches instead")
    needs_norm = ("ffn", "released") in skips.parts or any(part == "parallel" for part, _ in skips.parts)
    if (branch.norm is None and needs_norm) or (attention_norm is None and ("parallel", "released") in skips.parts):
        found = f"the norms around its branches are not found among {', '.join(children)}"
        raise ChiasmError(f"such a skip in {type(layer).__name__}", found, "Use another part")
    replaced = _ReplacedBranch(branch, attention_norm, skips, is_moe=getattr(layer, "is_moe_layer", False))
    stack.enter_context(replaced_forward(branch.exit, replaced.exit))
    if branch.entry is not None:
        stack.enter_context(replaced_forward(branch.entry, replaced.entry))


@final
class _ReplacedBranch:
    """The forwards that stand at a branch's entry and exit, and what the one leaves for the other."""

    def __init__(
        self, branch: _BranchModules, attention_norm: nn.Module | None, skips: FeedForwardSkips, *, is_moe: bool
    ) -> None:
        self._skips, self._attention_norm = skips, attention_norm
        self._run_exit = branch.exit.forward
        self._run_entry = branch.entry.forward if branch.entry is not None else None
        # The shape before the entry took rows away; None while rows are all there.
        self._shape: torch.Size | None = None
        # Released form of `ffn`: what stands where nothing should be added.
        self._filler: Float[Tensor, "R D"] | None = None
        # What some branches of experts return beside the rows, as the scores of their router.
        self._extra: list[Any] = [None] if is_moe else []

    def entry(self, hidden: Float[Tensor, "... D"]) -> Tensor:
        """The first module on the rows that are kept."""
        assert self._run_entry is not None
        given = self._skips.layer_input()
        if given is not None:
            hidden = given.reshape(hidden.shape)
            if self._attention_norm is not None and self._skips.released("parallel"):
                return self._attention_norm(hidden)
        kept = self._skips.kept()
        if kept is None:
            return self._run_entry(hidden)
        self._shape = hidden.shape
        if self._skips.released("ffn"):
            self._filler = _flat(self._run_entry(hidden))
        return self._run_entry(_flat(hidden).index_select(0, kept.to(hidden.device))[None])

    def exit(self, hidden: Tensor, *args: Any, **kwargs: Any) -> Any:
        """The last module on the rows that are kept, put back among all rows."""
        kept, shape = self._skips.kept(), self._shape
        if kept is None:
            return self._run_exit(hidden, *args, **kwargs)
        kept = kept.to(hidden.device)
        own = _flat(hidden).index_select(0, kept)[None] if shape is None else hidden
        shape, self._shape = shape or hidden.shape, None
        filler, self._filler = self._filler, None
        result = hidden.new_zeros(shape[:-1].numel(), shape[-1]) if filler is None else filler.clone()
        if len(kept):
            output = self._run_exit(own, *args, **kwargs)
            if isinstance(output, tuple):
                output, *self._extra = output
            result.index_copy_(0, kept, _flat(output))
        return (result.view(shape), *self._extra) if self._extra else result.view(shape)


def _branch_of(view: ModelView, layer: nn.Module) -> _BranchModules:
    """The branch of `layer`, be it a module or, as in OPT, two matrices in the layer itself."""
    children = dict(layer.named_children())
    if view.has_mlp(layer):
        norm = _norm_before(children)
        return _BranchModules(norm, norm, view.mlp_of(layer))
    _, second = view.feed_forward_of(layer)
    # The smallest OPT normalises behind its branches, so that rows enter at the first matrix.
    before = getattr(layer, "do_layer_norm_before", True)
    norm = children["final_layer_norm"] if before else None
    return _BranchModules(norm, children["fc1"] if norm is None else norm, second)


def _flat(hidden: Float[Tensor, "... D"]) -> Float[Tensor, "R D"]:
    return hidden.reshape(-1, hidden.shape[-1])


def _norm_before(children: dict[str, nn.Module]) -> nn.Module | None:
    """The norm whose output only the feed-forward reads; None where the names do not say."""
    for name in ("pre_feedforward_layernorm", "ffn_norm"):
        if name in children:
            return children[name]
    # With a norm behind the feed-forward and none before, this name means the norm behind attention.
    return None if "post_feedforward_layernorm" in children else children.get("post_attention_layernorm")
