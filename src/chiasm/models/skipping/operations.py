"""How many operations the reading of a prompt takes, counted from shapes: no decoder layer is run.

An operation is a multiplication or an addition of a matrix product or convolution (two per multiply-add), as torch's
own counter counts. Attention is rows x columns, not halved for causal masks. Norms, activations and rotary embeddings
are left out: they are memory traffic, not operations.
"""

import weakref
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from chiasm.core.errors import ChiasmError
from chiasm.interventions.skips import ModelIdentity, SkipPlan
from chiasm.models.families.vision_operations import linear_weights, operations_from_shapes
from chiasm.models.frame import keep_logits, record_frame
from chiasm.models.skipping.plans import span_tokens
from chiasm.models.skipping.rows import Gathered, Selection
from chiasm.models.view import ModelView
from chiasm.models.weights import replaced_forward

_known: weakref.WeakKeyDictionary[nn.Module, dict[Any, int]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Operations:
    """Operations by part. `projections`: to and from queries, keys, values; `attention`: rows x columns."""

    vision: int
    projections: int
    attention: int
    ffn: int
    head: int

    @property
    def total(self) -> int:
        return sum(astuple(self))


def prefill_operations(
    view: ModelView, inputs: Mapping[str, Any], plan: SkipPlan | None = None, *, logits: int = 1
) -> Operations:
    """What one forward on `inputs` with an empty cache takes under `plan` (None: the plain model).

    `logits`: rows per example that the head reads; generation reads 1, or all where the model takes no such
    argument. Where a plan chooses tokens by what it sees, their number is counted, so the count holds for every choice.

    **Errors:** `ChiasmError` for a decoder with layers that are no self-attention, whose operations have no rule here.
    """
    for index, layer in enumerate(view.layers):
        if not view.has_attention(layer):
            raise ChiasmError(
                f"count the operations of `{view.name}`",
                f"layer {index} is a {type(layer).__name__}, whose token mixer is no self-attention",
                "Its feed-forward can be skipped by a plan of your own (`chiasm.apply`); what that saves is not known",
            )
    rows = _RowCounts(view, inputs, plan)
    projections = attention = ffn = 0
    for index, layer in enumerate(view.layers):
        branch = view.attention_of(layer)
        weights = {name: linear_weights(child) for name, child in branch.named_children()}
        key_value = weights.get("k_proj", 0) + weights.get("v_proj", 0)
        others = sum(weights.values()) - key_value
        computed, read_only, read = rows.of_attention(index)
        projections += 2 * (computed * others + (computed + read_only) * key_value)
        attention += 2 * 2 * computed * read * _query_width(view, index)
        scored = rows.scored(index)
        projections += 2 * scored * sum(weights.values())
        attention += 2 * 2 * scored * rows.length * _query_width(view, index)
        weighed = sum(_active_weights(view, module) for module in view.feed_forward_of(layer))
        ffn += 2 * rows.of_ffn(index) * weighed
    read = logits if keep_logits(view, slice_to=1) else rows.length
    head = 2 * rows.batch * read * linear_weights(view.head)
    return Operations(vision_operations(view, inputs), projections, attention, ffn, head)


def vision_operations(view: ModelView, inputs: Mapping[str, Any]) -> int:
    """What tower and projector take for the images, videos or sounds of `inputs`; 0 without. No plan changes it.

    Counted from shapes where the family has a rule here; otherwise towers and projectors are run once, for torch's own
    counter.
    """
    known = operations_from_shapes(view.family, view.config, view.vision_tower, view.projector, inputs)
    return _counted(view, inputs) if known is None else known


def _counted(view: ModelView, inputs: Mapping[str, Any]) -> int:
    """Operations outside decoder layers and head, by torch's counter; remembered by the shapes of `inputs`."""
    shapes = tuple((name, tuple(v.shape)) for name, v in sorted(inputs.items()) if isinstance(v, Tensor))
    known = _known.setdefault(view.model, {})
    if shapes not in known:
        # Fused attention on a CPU is not seen by the counter; written out it is.
        with (
            # The counter looks for the gradient functions of parameters that a model passes on as states (BLIP-2).
            view.frozen_parameters(),
            view.readable_attention(),
            replaced_forward(view.head, lambda states: states.new_zeros(*states.shape[:-1], len(view.head.weight))),
            sdpa_kernel(SDPBackend.MATH),
            FlopCounterMode(display=False) as counter,
        ):
            record_frame(view, dict(inputs))
        known[shapes] = counter.get_total_flops()
    return known[shapes]


def _active_weights(view: ModelView, mlp: nn.Module) -> int:
    """Weights that one row meets in a feed-forward branch: of experts, those that it is routed to, and the router."""
    dense = {id(m.weight) for m in mlp.modules() if isinstance(m, nn.Linear)}
    others = [p for p in mlp.parameters() if p.ndim > 1 and id(p) not in dense]
    experts = [p for p in others if p.ndim == 3]
    if not experts:
        return linear_weights(mlp) + sum(p.numel() for p in others)
    routed = int(view.text_config.num_experts_per_tok)
    return linear_weights(mlp) + sum(p.numel() * routed // len(p) if p.ndim == 3 else p.numel() for p in others)


class _RowCounts:
    """How many rows each branch computes, by the very selection that the executor makes."""

    def __init__(self, view: ModelView, inputs: Mapping[str, Any], plan: SkipPlan | None) -> None:
        self.batch, self.length = inputs["input_ids"].shape
        none = ModelIdentity(model_type="", layers=view.n_layers, width=view.width, weights="")
        self._plan = plan or SkipPlan(name="", model=none)
        self._selection = Selection(self._plan, span_tokens(view), dict(inputs))
        for index, skip in enumerate(self._plan.skips):
            if skip.is_adaptive:
                # Any tokens of that number: what they are does not change the count.
                some = torch.arange(self.length, device=inputs["input_ids"].device)
                self._selection.choose(index, some.expand(self.batch, -1))

    def of_ffn(self, layer: int) -> int:
        return len(self._selection.kept_flat(self._selection.acting(layer, ("ffn", "block", "tokens"))))

    def of_attention(self, layer: int) -> tuple[int, int, int]:
        """Rows that compute, rows that give keys and values alone (both over the batch), and columns that are read."""
        chosen = self._selection
        dropping = chosen.acting(layer, ("tokens",))
        out = chosen.left_out(dropping | chosen.acting(layer, ("attention", "block")))
        if out is None:
            return self.batch * self.length, 0, self.length
        if self._plan.unread(layer):
            return 0, 0, self.length
        absent = chosen.left_out(dropping)
        read_only = Gathered.of(out if absent is None else out & ~absent).rows.shape[1]
        read = self.length if absent is None else Gathered.of(~absent).rows.shape[1]
        return self.batch * Gathered.of(~out).rows.shape[1], self.batch * read_only, read

    def scored(self, layer: int) -> int:
        """Rows computed once more to see whom they attend to."""
        asked = any(s.choice == "least-attention" and s.layers[0] == layer + 1 for s in self._plan.skips)
        return self.batch if asked else 0


def _query_width(view: ModelView, layer: int) -> int:
    configs = view.layer_configurations()
    config = configs[layer] if len(configs) > 1 else configs[0]
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(config.num_attention_heads * head)
