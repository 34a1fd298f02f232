"""Plans put into effect: an ordinary transformers model that does not do the work which its plan leaves out.

The forwards of the decoder's branches are replaced; everything else, generation and cache included, is the model's
own. Each forward finds its rows from `input_ids`, so prompts, batches and padding may change from call to call.
"""

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import DynamicCache, GenerationMixin

from chiasm.core.errors import ChiasmError
from chiasm.interventions.skips import Form, SkipPart, SkipPlan, SkipSpan
from chiasm.models.frame import cache_name, layer_arguments, layer_output
from chiasm.models.skipping.attention import (
    CachedPositions,
    attend,
    compute_nothing,
    last_row_attention,
    record_attention,
    require_rows,
    reuse_keys_and_values,
)
from chiasm.models.skipping.feed_forward import FeedForwardSkips, replace_feed_forward
from chiasm.models.skipping.plans import require_fitting, span_tokens
from chiasm.models.skipping.rows import Gathered, Selection
from chiasm.models.view import ModelView, attending_by
from chiasm.models.weights import replaced_forward

_applied: weakref.WeakKeyDictionary[nn.Module, ExitStack] = weakref.WeakKeyDictionary()


def apply(view: ModelView, plan: SkipPlan, *, same_weights: bool = True) -> nn.Module:
    """Put `plan` into effect in `view.model`, which is returned: its forward and `generate()` now skip.

    The model stays what it was, an ordinary transformers model; `remove` undoes it. `same_weights=False` also takes a
    model of the same shape with other weights (fine-tuned since, or of another dtype).

    **Errors:** `ChiasmError` for a plan of another model, a span that this model does not have, or a model that has a
    plan in effect already.
    """
    if view.model in _applied:
        raise ChiasmError(f"apply the plan `{plan.name}`", "a plan is in effect already", "Call `remove` first")
    require_fitting(view, plan, same_weights=same_weights)
    with ExitStack() as stack:
        if plan.skips:
            _AppliedPlan(view, plan, span_tokens(view)).enter(stack)
        # A layer that refuses leaves nothing behind in those before it.
        _applied[view.model] = stack.pop_all()
    return view.model


def remove(view: ModelView) -> nn.Module:
    """Undo `apply`; the model then computes, bit by bit, what it did before.

    **Errors:** `ChiasmError` if no plan is in effect.
    """
    stack = _applied.pop(view.model, None)
    if stack is None:
        raise ChiasmError("remove a plan", "none is in effect", "Apply one first")
    stack.close()
    return view.model


@contextmanager
def skipping(view: ModelView, plan: SkipPlan, *, same_weights: bool = True) -> Iterator[nn.Module]:
    """`plan` in effect for the length of a block."""
    model = apply(view, plan, same_weights=same_weights)
    try:
        yield model
    finally:
        remove(view)


class _AppliedPlan:
    """The replaced forwards of one model, and what the forward at hand leaves out."""

    def __init__(self, view: ModelView, plan: SkipPlan, tokens: dict[SkipSpan, tuple[int, ...]]) -> None:
        self.view, self.plan, self.tokens = view, plan, tokens
        self.positions = CachedPositions()
        self._selection: Selection | None = None
        # The input of the layer at hand, by its index.
        self.layer_input: dict[int, Tensor] = {}
        # Ids of the prompt while a language model generates from embeddings.
        self.prompt: Int[Tensor, "B T"] | None = None
        # Skips that choose their tokens by what the layer before their first one does, by their first layer.
        self.choosing: dict[int, list[int]] = {}
        for index, skip in enumerate(plan.skips):
            if skip.is_adaptive:
                self.choosing.setdefault(skip.layers[0], []).append(index)

    def enter(self, stack: ExitStack) -> None:
        view, skips = self.view, self.plan.skips
        model = view.model.get_base_model() if view.is_peft else view.model
        stack.callback(model.register_forward_pre_hook(self._begin, with_kwargs=True).remove)
        self._follow_generation(model, stack)
        reads_masks = any(skip.part not in ("ffn", "parallel", "parallel-blocks") for skip in skips)
        # Flash and flex attention pass no mask whose rows could be taken: sdpa stands in for them.
        if reads_masks and view.attention_implementation not in ("sdpa", "eager"):
            stack.enter_context(attending_by(view.decoder, "sdpa"))
        for skip in skips:
            for first in skip.layers if skip.part == "parallel-blocks" else ():
                _pair_blocks(view.layers, first, skip.form, lambda s=skip: s.acts_in(self.selection.phase), stack)
        for index, layer in enumerate(view.layers):
            parts = {skip.part for skip in skips if index in skip.layers}
            chosen_here, chosen_next = self.choosing.get(index, []), self.choosing.get(index + 1, [])
            by_change = any(skips[k].choice == "least-change" for k in (*chosen_here, *chosen_next))
            if by_change or "parallel" in parts:
                hook = partial(self._before_layer, index)
                stack.enter_context(layer.register_forward_pre_hook(hook, with_kwargs=True))
            if parts & {"ffn", "block", "tokens", "parallel"}:
                replace_feed_forward(view, layer, self._feed_forward_skips(index), stack)
            by_attention = [k for k in chosen_next if skips[k].choice == "least-attention"]
            if by_attention or parts & {"attention", "block", "tokens"}:
                attention = view.attention_of(layer)
                require_rows(attention)
                replaced = partial(self._attention, index, attention, attention.forward, by_attention)
                stack.enter_context(replaced_forward(attention, replaced))

    def _follow_generation(self, model: Any, stack: ExitStack) -> None:
        """BLIP-2 generates past its own forward, by a language model that is given embeddings."""
        language = dict(model.named_children()).get("language_model")
        if language is None or type(model).generate is GenerationMixin.generate:
            return
        run = language.generate

        def generate(*args: Any, **kwargs: Any) -> Any:
            self.prompt = kwargs["input_ids"]
            try:
                return run(*args, **kwargs)
            finally:
                self.prompt = None

        def begin(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if self.prompt is None:
                return  # within the model's own forward, which has begun already
            ids = kwargs.get("input_ids")
            if ids is None:
                ids = self.prompt.repeat_interleave(len(kwargs["inputs_embeds"]) // len(self.prompt), dim=0)
            self._begin(module, (), kwargs | {"input_ids": ids})

        language.generate = generate
        stack.callback(delattr, language, "generate")
        stack.callback(language.register_forward_pre_hook(begin, with_kwargs=True).remove)

    def _begin(self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        inputs = ({"input_ids": args[0]} if args else {}) | kwargs
        self._selection = Selection(self.plan, self.tokens, inputs)
        self.layer_input = {}

    @property
    def selection(self) -> Selection:
        """The rows that the forward at hand leaves out."""
        assert self._selection is not None
        return self._selection

    def _before_layer(self, index: int, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hidden, _ = layer_arguments(layer, args, kwargs)
        for k in self.choosing.get(index, []):
            if self.plan.skips[k].choice == "least-change" and self.selection.phase == "prefill":
                before = self.layer_input[index - 1].to(hidden.device)
                self.selection.choose(k, 1 - F.cosine_similarity(before, hidden, dim=-1))
        self.layer_input = {index: hidden}

    def _feed_forward_skips(self, index: int) -> FeedForwardSkips:
        def released(part: SkipPart) -> bool:
            acting = self.selection.acting(index, (part,))
            return any(self.plan.skips[k].form == "released" for k in acting)

        def kept() -> Int[Tensor, " K"] | None:
            skips = self.selection.acting(index, ("ffn", "block", "tokens"))
            return None if self.selection.left_out(skips) is None else self.selection.kept_flat(skips)

        return FeedForwardSkips(
            parts={(skip.part, skip.form) for skip in self.plan.skips if index in skip.layers},
            kept=kept,
            layer_input=lambda: self.layer_input[index] if self.selection.acting(index, ("parallel",)) else None,
            released=released,
        )

    def _attention(
        self,
        index: int,
        module: nn.Module,
        forward: Callable[..., Any],
        by_attention: list[int],
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """What stands in place of the `forward` of an attention branch."""
        hidden, named = layer_arguments(module, args, kwargs)
        named["hidden_states"] = hidden
        cache = named.get(cache_name(named) or "")
        if not (by_attention and self.selection.phase == "prefill"):
            return self._attend(index, module, forward, named, cache)
        named, recorder = record_attention(named)
        output = self._attend(index, module, forward, named, cache)
        score = last_row_attention(forward, module, named, recorder)
        for k in by_attention:
            self.selection.choose(k, score)
        return output

    def _attend(
        self, index: int, module: nn.Module, forward: Callable[..., Any], named: dict[str, Any], cache: Any
    ) -> Any:
        selection, hidden = self.selection, named["hidden_states"]
        dropping = selection.acting(index, ("tokens",))
        skips = dropping | selection.acting(index, ("attention", "block"))
        implementation = self.view.attention_implementation
        left_out = selection.left_out(skips)
        if left_out is None:
            if selection.past:
                total = selection.past + hidden.shape[1]
                named["attention_mask"] = self.positions.mask(
                    cache, index, named.get("attention_mask"), total, implementation, hidden.dtype
                )
            return forward(**named)
        dropped = selection.left_out(dropping)
        self._require_positions(cache, dropped is not None)
        if any(self.plan.skips[k].form == "released" for k in selection.acting(index, ("block",))):
            return reuse_keys_and_values(module, hidden, cache, index), None
        if self.plan.unread(index):
            return compute_nothing(module, hidden, cache), None
        kept, read = (selection.kept(s).on(hidden.device) for s in (skips, dropping))
        marked = left_out if dropped is None else left_out & ~dropped
        read_only = Gathered.of(marked).on(hidden.device) if bool(marked.any()) else None
        if dropped is not None:
            self.positions.remember(cache, index, read, hidden.shape[1])
        return attend(forward, module, named, kept, read, read_only, implementation), None

    def _require_positions(self, cache: Any, drops_tokens: bool) -> None:
        """Refuse a forward in which the cache's columns are not the positions of the sequence."""
        if drops_tokens and self.selection.past:
            raise ChiasmError(
                f"a prompt in pieces under the plan `{self.plan.name}`",
                "tokens are dropped while the prompt is read",
                "Give the whole prompt in one forward",
            )
        if cache is not None and not isinstance(cache, DynamicCache):
            raise ChiasmError(
                f"attention under the plan `{self.plan.name}`",
                f"the cache is a {type(cache).__name__}, whose columns are not those of the sequence",
                "Leave `cache_implementation` at its default",
            )


def _pair_blocks(
    layers: Sequence[nn.Module], first: int, form: Form, is_acting: Callable[[], bool], stack: ExitStack
) -> None:
    """Let layer `first + 1` read what layer `first` reads, while `is_acting`, until `stack` closes.

    Out comes input + both updates; in the released form the mean of both outputs, which halves the updates, with the
    mean of both layers' keys and values in both caches.

    Source: Shukor & Cord 2024 (arXiv 2410.09454).
    """
    shared_input: list[Tensor] = []
    first_output: list[Tensor] = []

    def before_first(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        shared_input.clear()
        if is_acting():
            shared_input.append(layer_arguments(layer, args, kwargs)[0])

    def before_second(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not shared_input:
            return None
        hidden, named = layer_arguments(layer, args, kwargs)
        first_output[:] = [hidden]
        return (), named | {"hidden_states": shared_input[0].to(hidden.device)}

    def after_second(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        if not shared_input:
            return None
        second = layer_output(output)
        start, first_state = shared_input[0].to(second.device), first_output[0]
        joined = (first_state + second) / 2 if form == "released" else first_state + second - start
        if form == "released":
            _average_caches(kwargs.get(cache_name(kwargs) or ""), first, start.shape[1])
        shared_input.clear()
        return (joined, *output[1:]) if isinstance(output, tuple) else joined

    stack.callback(layers[first].register_forward_pre_hook(before_first, with_kwargs=True).remove)
    stack.callback(layers[first + 1].register_forward_pre_hook(before_second, with_kwargs=True).remove)
    stack.callback(layers[first + 1].register_forward_hook(after_second, with_kwargs=True).remove)


def _average_caches(cache: Any, first: int, rows: int) -> None:
    if cache is not None:
        one, two = cache.layers[first], cache.layers[first + 1]
        one.keys, two.keys = _with_mean(one.keys, two.keys, rows)
        one.values, two.values = _with_mean(one.values, two.values, rows)


def _with_mean(one: Tensor, two: Tensor, rows: int) -> tuple[Tensor, ...]:
    """Both, with their mean in the last `rows` positions."""
    mean = (one[:, :, -rows:] + two[:, :, -rows:].to(one.device)) / 2
    return tuple(torch.cat([whole[:, :, :-rows], mean.to(whole.device)], dim=2) for whole in (one, two))
