"""Plans put into effect: an ordinary transformers model that does not do the work which its plan leaves out.

The forwards of the decoder's branches are replaced; everything else, generation and cache included, is the model's
own. Each forward finds its rows from `input_ids`, so prompts, batches and padding may change from call to call.
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import DynamicCache, GenerationMixin

from chiasm.core.errors import ChiasmError
from chiasm.interventions.skips import SkipPart, SkipPlan, SkipSpan
from chiasm.models.executors.frame import layer_arguments, replaced_forward
from chiasm.models.skipping.attention import Columns, attend, received, recording
from chiasm.models.skipping.feed_forward import FeedForwardSkips, replace_feed_forward
from chiasm.models.skipping.pairs import lent, pair_blocks
from chiasm.models.skipping.plans import require_fitting, span_tokens
from chiasm.models.skipping.rows import Gathered, Selection
from chiasm.models.view import ModelView

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
            _Skipping(view, plan, span_tokens(view)).enter(stack)
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


class _Skipping:
    """The replaced forwards of one model, and what the forward at hand leaves out."""

    def __init__(self, view: ModelView, plan: SkipPlan, tokens: dict[SkipSpan, tuple[int, ...]]) -> None:
        self.view, self.plan, self.tokens = view, plan, tokens
        self.columns = Columns()
        self.selection: Selection | None = None
        self.before: dict[int, Tensor] = {}
        # Ids of the prompt while a language model generates from embeddings.
        self.prompt: Int[Tensor, "B T"] | None = None
        # For `least-*`: the layer whose end decides, and the skips that it decides.
        self.deciding: dict[int, list[int]] = {}
        for index, skip in enumerate(plan.skips):
            if skip.choice.startswith("least"):
                self.deciding.setdefault(skip.layers[0], []).append(index)

    def enter(self, stack: ExitStack) -> None:
        view, skips = self.view, self.plan.skips
        model = view.model.get_base_model() if view.is_peft else view.model
        stack.callback(model.register_forward_pre_hook(self._begin, with_kwargs=True).remove)
        self._follow_generation(model, stack)
        if any(skip.part not in ("ffn", "parallel", "parallel-blocks") for skip in skips):
            self._readable_masks(stack)
        for skip in skips:
            for first in skip.layers if skip.part == "parallel-blocks" else ():
                pair_blocks(view.layers, first, skip.form, lambda s=skip: s.acts_in(self.rows.phase), stack)
        for index, layer in enumerate(view.layers):
            parts = {skip.part for skip in skips if index in skip.layers}
            decides = self.deciding.get(index, [])
            watched = self.deciding.get(index + 1, [])
            by_change = any(skips[k].choice == "least-change" for k in (*decides, *watched))
            if by_change or "parallel" in parts:
                hook = layer.register_forward_pre_hook(self._before(index), with_kwargs=True)
                stack.callback(hook.remove)
            if parts & {"ffn", "block", "tokens", "parallel"}:
                replace_feed_forward(view, layer, self._feed_forward(index), stack)
            scoring = any(skips[k].choice == "least-attention" for k in watched)
            if scoring or parts & {"attention", "block", "tokens"}:
                attention = view.attention_of(layer)
                replaced = self._attention(index, attention, attention.forward, watched if scoring else [])
                stack.enter_context(replaced_forward(attention, replaced))

    def _readable_masks(self, stack: ExitStack) -> None:
        """Flash and flex attention pass no mask whose rows could be taken: sdpa stands in for them."""
        before = self.view.attention_implementation
        if before not in ("sdpa", "eager"):
            self.view.decoder.set_attn_implementation("sdpa")
            stack.callback(self.view.decoder.set_attn_implementation, before)

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
        self.selection = Selection(self.plan, self.tokens, inputs)
        self.before = {}

    @property
    def rows(self) -> Selection:
        assert self.selection is not None
        return self.selection

    def _before(self, index: int) -> Callable[..., None]:
        def hook(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            hidden, _ = layer_arguments(layer, args, kwargs)
            for k in self.deciding.get(index, []):
                if self.plan.skips[k].choice == "least-change" and self.rows.phase == "prefill":
                    self.rows.choose(
                        k, 1 - F.cosine_similarity(self.before[index - 1].to(hidden.device), hidden, dim=-1)
                    )
            self.before = {index: hidden}

        return hook

    def _feed_forward(self, index: int) -> FeedForwardSkips:
        def released(part: SkipPart) -> bool:
            acting = self.rows.acting(index, (part,))
            return any(self.plan.skips[k].form == "released" for k in acting)

        def kept() -> Int[Tensor, " K"] | None:
            skips = self.rows.acting(index, ("ffn", "block", "tokens"))
            return None if self.rows.left_out(skips) is None else self.rows.kept_flat(skips)

        return FeedForwardSkips(
            parts={(skip.part, skip.form) for skip in self.plan.skips if index in skip.layers},
            kept=kept,
            layer_input=lambda: self.before[index] if self.rows.acting(index, ("parallel",)) else None,
            released=released,
        )

    def _attention(
        self, index: int, module: nn.Module, forward: Callable[..., Any], scores: list[int]
    ) -> Callable[..., Any]:
        def replaced(*args: Any, **kwargs: Any) -> Any:
            hidden, named = layer_arguments(module, args, kwargs)
            named["hidden_states"] = hidden
            cache = named.get("past_key_values")
            if scores and self.rows.phase == "prefill":
                named, recorder = recording(named)
                output = self._attended(index, module, forward, named, cache)
                score = received(forward, module, named, recorder)
                for k in scores:
                    if self.plan.skips[k].choice == "least-attention":
                        self.rows.choose(k, score)
                return output
            return self._attended(index, module, forward, named, cache)

        return replaced

    def _attended(
        self, index: int, module: nn.Module, forward: Callable[..., Any], named: dict[str, Any], cache: Any
    ) -> Any:
        rows, hidden = self.rows, named["hidden_states"]
        dropping = rows.acting(index, ("tokens",))
        skips = dropping | rows.acting(index, ("attention", "block"))
        implementation = self.view.attention_implementation
        if rows.left_out(skips) is None:
            if rows.past:
                total = rows.past + hidden.shape[1]
                named["attention_mask"] = self.columns.mask(
                    cache, index, named.get("attention_mask"), total, implementation, hidden.dtype
                )
            return forward(**named)
        absent = rows.left_out(dropping)
        if absent is not None and rows.past:
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
        if any(self.plan.skips[k].form == "released" for k in rows.acting(index, ("block",))):
            return lent(module, hidden, cache, index), None
        if self.plan.unread(index):
            return self._unread(module, hidden, cache), None
        kept, read = (rows.kept(s).on(hidden.device) for s in (skips, dropping))
        quiet = rows.left_out(skips)
        assert quiet is not None
        quiet = quiet if absent is None else quiet & ~absent
        silent = Gathered.of(quiet).on(hidden.device) if bool(quiet.any()) else None
        if absent is not None:
            self.columns.remember(cache, index, read, hidden.shape[1])
        return attend(forward, module, named, kept, read, silent, implementation), None

    @staticmethod
    def _unread(module: nn.Module, hidden: Float[Tensor, "B T D"], cache: Any) -> Float[Tensor, "B T D"]:
        """Nothing is computed. One number per row stands for keys and values, since the cache's length counts rows."""
        if cache is not None:
            filler = hidden.new_zeros(hidden.shape[0], 1, hidden.shape[1], 1)
            cache.update(filler, filler, module.layer_idx)
        return torch.zeros_like(hidden)
