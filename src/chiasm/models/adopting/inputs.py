"""How a processor is called, which of its tokens stand for an input, and how inputs of several examples are joined."""

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from chiasm.models.adopting.refusals import UnansweredError, answering
from chiasm.models.architecture import model_class
from chiasm.models.conformance.trial import noise, noise_example, noise_like
from chiasm.models.encoded import ROW_INPUTS, Encoded
from chiasm.models.encoding.encode import accepted_inputs, batch_inputs, made_inputs
from chiasm.models.generic.family import differ_in_size, generic_family
from chiasm.models.generic.rules import GenericRules
from chiasm.models.precision import Precision
from chiasm.models.view import ModelView

_SAME: Final = 1e-4
"""Largest difference of two forwards on the same input, as a share of the largest logit."""
_OF_TEXT: Final = frozenset({"input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids", "position_ids"})
_REPORTED: Final = ("return_offsets_mapping", "return_text_replacement_offsets")


class RandomError(UnansweredError):
    """One input gives other logits each time."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"the same {kind} gives other logits each time: it draws random numbers", reached=6)


class Candidate(NamedTuple):
    """A model that is tried: what a view is made of."""

    model: nn.Module
    processor: Any
    name: str
    precision: Precision | None

    def view(self, rules: GenericRules) -> ModelView:
        """The model as `rules` have it."""
        family = generic_family(self.model.config, rules)
        return ModelView(self.model, self.processor, self.name, family=family, precision=self.precision)


def perceived(processor: Any) -> tuple[str, ...]:
    """What a processor has a part for, images first."""
    parts = {
        "image": ("image_processor",),
        "video": ("video_processor",),
        "audio": ("feature_extractor", "audio_processor"),
    }
    return tuple(
        kind for kind, names in parts.items() if any(getattr(processor, name, None) is not None for name in names)
    )


def called(candidate: Candidate, rules: GenericRules, kind: str) -> GenericRules:
    """`rules` with a way of calling the processor with an input of `kind` that the model takes.

    Ways are tried in order, the fullest answer of the processor first.

    **Errors:** `UnansweredError` with the reason of the way that went furthest.
    """
    against: list[UnansweredError] = []
    for way in _ways(candidate, rules, kind):
        try:
            with answering(f"its {kind}"):
                try:
                    return _live(candidate, way, kind)
                except RandomError:
                    return _without_noise(candidate, way, kind)
        except UnansweredError as error:
            against.append(error)
    # What was seen of the model says more than what its code raised on a way that it does not take.
    raise max(against, key=lambda error: (not error.foreign, error.reached))


def _ways(candidate: Candidate, rules: GenericRules, kind: str) -> Iterator[GenericRules]:
    """Rules to call the processor by, for an input of `kind` besides those that they know already."""
    names = accepted_inputs(type(candidate.model.config))
    types = [True, False] if names is None or "mm_token_type_ids" in names else [False, True]
    base = replace(
        rules,
        modalities=(*rules.modalities, kind),
        placeholders={**rules.placeholders, kind: _placeholder(candidate.processor, kind)},
        renames={**rules.renames, **_renamed(candidate.processor, kind)},
    )
    if rules.modalities:
        # One way for all kinds of input: what was found for the first.
        yield base
        return
    for without in ((), _REPORTED[1:], _REPORTED, (*_REPORTED, "add_special_tokens", "truncation")):
        for nested in (False, True):
            for all_inputs in (False, True):
                for wanted in types:
                    yield replace(
                        base,
                        without=without,
                        located=not without,
                        nested=nested,
                        types=wanted,
                        all_inputs=all_inputs,
                    )


def _without_noise(candidate: Candidate, rules: GenericRules, kind: str) -> GenericRules:
    """`rules` with the one option of the forward off without which an input gives other logits each time.

    **Errors:** `UnansweredError` where there is none.
    """
    known = model_class(type(candidate.model.config))
    options = {} if known is None else inspect.signature(known.forward).parameters
    for name in (name for name, option in options.items() if option.default is True):
        try:
            return _live(candidate, replace(rules, switches={**rules.switches, name: False}), kind)
        except UnansweredError:
            continue
    raise RandomError(kind)


def _renamed(processor: Any, kind: str) -> dict[str, str]:
    """The other name under which a processor takes clips, where its call knows no `videos`."""
    taken = inspect.signature(type(processor).__call__).parameters
    return {"videos": "images"} if kind == "video" and "videos" not in taken and "images" in taken else {}


def _placeholder(processor: Any, kind: str) -> str:
    """What the chat template writes for an input of `kind`: what a prompt with one has more than one without.

    **Errors:** `UnansweredError` for a template that takes no such input, or gives no text.
    """
    with answering(f"the chat template and an input of kind {kind}"):
        text = {"type": "text", "text": "word"}
        bare, one = (
            processor.apply_chat_template([{"role": "user", "content": [*given, text]}], add_generation_prompt=True)
            for given in ([], [{"type": kind}])
        )
    if not isinstance(one, str):
        raise UnansweredError(
            f"its processor's `apply_chat_template` gives no text but {type(one).__name__}: a prompt cannot be written "
            "and then encoded with its inputs"
        )
    start = next((k for k, (a, b) in enumerate(zip(bare, one)) if a != b), min(len(bare), len(one)))
    written = one[start : start + len(one) - len(bare)]
    named = str(getattr(processor, f"{kind}_token", "") or "")
    return named if named and one.count(named) == bare.count(named) + 1 else written


def _live(candidate: Candidate, rules: GenericRules, kind: str) -> GenericRules:
    """`rules` with the ids of the tokens at which the decoder is given something else when the input is another."""
    _require_taken(candidate, rules, kind)
    view = candidate.view(rules)
    first, second = (_ids_and_states(view, kind, seed) for seed in (0, 10))
    ids, states = first
    axis = next((axis for axis in range(1, states.ndim - 1) if states.shape[axis] == len(ids)), None)
    if axis is None:
        rows = states.shape[1]
        beside = f"what stands for the {kind} lies beside the prompt, at no token of it"
        own = "it works on rows of its own, which no token of the prompt stands for"
        raise UnansweredError(
            f"its decoder is given {rows} rows for a prompt of {len(ids)} tokens: {beside if rows > len(ids) else own}",
            reached=1,
        )
    if not np.array_equal(ids, second[0]):
        raise UnansweredError(f"two inputs of kind {kind} of one size make different prompts of it", reached=2)
    others = tuple(other for other in range(states.ndim) if other != axis)
    moved = (states - second[1]).abs().amax(dim=others) > 0
    live = np.flatnonzero(moved.cpu().numpy())
    if not len(live):
        raise UnansweredError(
            f"no token of its prompt stands for an input of kind {kind}: its layers get it beside them", reached=3
        )
    found = tuple(sorted({int(i) for i in ids[live]}))
    rules = replace(rules, ids={**rules.ids, kind: found})
    view = candidate.view(rules)
    encoded = view.encode(noise_example(kind, (noise(kind, 0),)))
    if not set(live.tolist()) <= set(encoded.spans[kind].tolist()):
        why = f"tokens that stand for an input of kind {kind} lie outside where its processor says"
        raise UnansweredError(why, reached=4)
    elsewhere = np.setdiff1d(np.arange(encoded.length), encoded.spans[kind])
    if not np.isin(ids[elsewhere], found).any():
        rules = replace(rules, distinct=(*rules.distinct, kind))
        view = candidate.view(rules)
    if not len(encoded.spans["question"]):
        why = "its processor writes a prompt of its own: no token of it is the question's"
        raise UnansweredError(why, reached=5)
    with torch.no_grad(), view.readable_attention():
        logits, again = (view.model(**encoded.inputs, use_cache=False).logits for _ in range(2))
    off = float((logits - again).abs().nan_to_num().max())
    if off > _SAME * float(logits.abs().nan_to_num(posinf=0.0).max()):
        raise RandomError(kind)
    if not bool(logits.isfinite().any()) or logits.shape[1] != encoded.length:
        raise UnansweredError(f"it gives {tuple(logits.shape)} logits for {encoded.length} tokens", reached=7)
    return rules


def _require_taken(candidate: Candidate, rules: GenericRules, kind: str) -> None:
    """That the forward takes something of what the processor makes of an input, and needs nothing else.

    **Errors:** `UnansweredError`.
    """
    known = model_class(type(candidate.model.config))
    if known is None:
        return
    forward = inspect.signature(known.forward).parameters
    family = generic_family(candidate.model.config, replace(rules, all_inputs=True))
    example = noise_example(kind, (noise(kind, 0),))
    made = made_inputs(candidate.processor, family, candidate.model.config, example).keys()
    extra = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    needed = [n for n, p in forward.items() if p.default is inspect.Parameter.empty and p.kind not in extra]
    missing = [f"`{name}`" for name in needed if name != "self" and name not in made]
    if missing:
        raise UnansweredError(f"its forward needs {', '.join(missing)}, which its processor makes of no prompt")
    own = made - _OF_TEXT
    if own and not own & forward.keys() and not rules.all_inputs:
        raise UnansweredError(f"its forward takes none of {', '.join(sorted(own))}, which stand for the {kind}")


def _ids_and_states(view: ModelView, kind: str, seed: int) -> tuple[np.ndarray, Tensor]:
    """The ids of a prompt with an input of noise, and what the first layer of the decoder is given."""
    example = noise_example(kind, (noise_like(noise(kind, 0), seed),))
    inputs = made_inputs(view.processor, view.family, view.config, example, device=view.device, dtype=view.dtype)
    states: list[Tensor] = []

    def keep(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        states.append((args[0] if args else kwargs["hidden_states"]).detach().clone())

    with torch.no_grad(), view.readable_attention():
        handle = view.layers[0].register_forward_pre_hook(keep, with_kwargs=True)
        try:
            view.model(**inputs, use_cache=False)
        finally:
            handle.remove()
    return inputs["input_ids"][0].cpu().numpy(), states[0]


def joined(candidate: Candidate, rules: GenericRules) -> GenericRules:
    """`rules` with inputs that have an entry for each token, the axes along which inputs of two examples are put
    together, and how many images a prompt may hold.
    """
    kind = rules.modalities[0]
    view = candidate.view(rules)
    one, other = noise(kind, 0), noise(kind, 1)
    first, second, third = (
        view.encode(noise_example(kind, (given,), question)) for given, question in ((one, 0), (one, 1), (other, 2))
    )
    rules = replace(rules, rows={**_rows((first, second, third))})
    together: Mapping[str, Tensor] = {}
    try:
        with answering("two inputs in one prompt"):
            both = view.encode(noise_example(kind, (one, other)))
            # Whose inputs are whose, and what a forward makes of them, is tried by the suite.
            with torch.no_grad(), view.readable_attention():
                view.model(**both.inputs, use_cache=False)
            together = both.inputs
    except UnansweredError as error:
        limited = replace(rules, max_images=1) if kind == "image" else rules
        rules = replace(limited, refused={**limited.refused, "several inputs": str(error)})
    # Two prompts in one call say more of a batch than two inputs in one prompt.
    together = _batched(view, kind, (one, other)) or together
    rules = replace(rules, joins=_joins(first.inputs, third.inputs, together, rules.rows.keys() | ROW_INPUTS))
    # The suite's two inputs show whether padding goes right only where they need any.
    return replace(rules, pads=differ_in_size((first, third), candidate.view(rules).family))


def _batched(view: ModelView, kind: str, media: tuple[Any, Any]) -> dict[str, Tensor] | None:
    """What the processor itself makes of two prompts in one call; None where it takes no two."""
    examples = [noise_example(kind, (given,), question) for given, question in zip(media, (0, 2), strict=True)]
    try:
        with answering("two prompts in one call"):
            return batch_inputs(view.processor, view.family, view.config, examples)
    except UnansweredError:
        return None


def _rows(examples: tuple[Encoded, ...]) -> dict[str, int]:
    """Inputs with one entry for each token, by their length in prompts of different length; their value at the end."""
    found = {}
    for name, value in examples[0].inputs.items():
        if not isinstance(value, Tensor) or name in ROW_INPUTS or value.ndim < 2 or value.is_floating_point():
            continue
        if all(e.inputs[name].shape[:2] == (1, e.length) for e in examples) and value.ndim == 2:
            found[name] = int(value[0, -1])
    return found


def _joins(
    first: Mapping[str, Tensor], second: Mapping[str, Tensor], both: Mapping[str, Tensor], rows: Any
) -> dict[str, int]:
    """The axis along which each input of two is as long as those of each together, where that is not the first."""
    found = {}
    for name, value in both.items():
        if name in rows or name not in first or name not in second or not isinstance(value, Tensor):
            continue
        a, b = first[name].shape, second[name].shape
        if len(a) != value.ndim or len(b) != value.ndim:
            continue
        axes = [axis for axis in range(value.ndim) if value.shape[axis] == a[axis] + b[axis]]
        if axes and axes[0] != 0:
            found[name] = axes[0]
    return found
