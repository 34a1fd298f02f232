"""How probable the model finds each of many labels: all of them behind one prompt, in one forward.

The labels' tokens follow the prompt in one sequence. Every layer is told, as variants are in the lockstep walk, that
each label stands right behind the prompt and sees nothing of the others: its rows take the positions after the prompt
and a mask cut out of the model's own. So the model's layers run unchanged and the prompt is computed once.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from chiasm.core.errors import ExampleError, GuardError
from chiasm.core.example import Example
from chiasm.models.encoding.encode import extended
from chiasm.models.encoding.encoded import Encoded
from chiasm.models.executors.forest import NOT_BY_ROW, row_axis
from chiasm.models.executors.frame import keep_logits, layer_arguments
from chiasm.models.executors.guard import TOLERANCE
from chiasm.models.executors.masks import allowed_rows, as_layer_mask
from chiasm.models.executors.reading import log_probabilities
from chiasm.models.view import ModelView

LabelTokens = Sequence[tuple[int, ...]]


def label_tokens(view: ModelView, example: Example, labels: Sequence[str], instruction: str = "") -> LabelTokens:
    """The token ids of every label as the model would write it after its prompt, the end of sequence included.

    The end belongs to the label: without it, a label that begins another one would never be the less probable.
    """
    return tuple(
        view.encode(example, instruction=instruction, answer=label, ends=True).answer_tokens for label in labels
    )


@final
class LabelScorer:
    """Log-probabilities of `labels` behind any prompt; argmax over labels is the constrained answer.

    `guard`: the first label of the first prompt is also scored by a plain forward, and a difference refuses to go on.
    """

    def __init__(self, view: ModelView, labels: LabelTokens, *, guard: bool = True) -> None:
        self.view, self.labels = view, tuple(labels)
        # The last token of a label is only predicted, never read.
        self._fed = [label[:-1] for label in self.labels]
        self._guard = guard

    @torch.no_grad()
    def scores(self, prompts: Sequence[Encoded]) -> Float[Tensor, "B C"]:
        """The log-probability (nat) of each label behind each prompt, on the CPU; prompts are one left-padded batch.

        **Errors:** `ExampleError` where they are NaN; `GuardError` where a plain forward disagrees.
        """
        flat = [token for label in self._fed for token in label]
        longer = [self._behind(prompt, flat) for prompt in prompts]
        inputs, _ = self.view.collate(longer)
        with self.view.readable_attention(), ExitStack() as stack:
            packing = _Packing(self.view, [len(label) for label in self._fed])
            for layer in self.view.layers:
                stack.callback(layer.register_forward_pre_hook(packing.hook, with_kwargs=True).remove)
            keep = keep_logits(self.view, slice_to=len(flat) + 1)
            logits = self.view.model(**inputs, **keep, use_cache=False).logits[:, -(len(flat) + 1) :]
        found = self._summed(log_probabilities(logits))
        if bool(torch.isnan(found).any()):
            raise ExampleError("the model gives NaN logits for this example")
        if self._guard:
            self._check(prompts[0], float(found[0, 0]))
            self._guard = False
        return found

    def _behind(self, prompt: Encoded, tokens: Sequence[int]) -> Encoded:
        inputs = {key: value.cpu() for key, value in prompt.inputs.items()}
        made = extended(inputs, tokens, self.view.family)
        spans = type(prompt.spans)(prompt.length + len(tokens), dict(prompt.spans))
        moved = {key: value.to(self.view.device) for key, value in made.items()}
        return Encoded(
            prompt.example_id, moved, spans, prompt.text, prompt.images, prompt.layouts, frames=prompt.frames
        )

    def _summed(self, rows: Float[Tensor, "B F N"]) -> Float[Tensor, "B C"]:
        found, start = [], 0
        for label, fed in zip(self.labels, self._fed, strict=True):
            # The first token is told by the prompt's last row, each other one by the token before it.
            at = torch.tensor([0, *range(start + 1, start + 1 + len(fed))], device=rows.device)
            tokens = torch.tensor(label, device=rows.device).expand(len(rows), -1)
            found.append(rows[:, at].gather(-1, tokens[..., None]).sum((-1, -2)).cpu())
            start += len(fed)
        return torch.stack(found, dim=1)

    def _check(self, prompt: Encoded, packed: float) -> None:
        plain = score_labels_singly(self.view, prompt, self.labels[:1])
        difference = abs(float(plain[0]) - packed)
        allowed = TOLERANCE[self.view.dtype] * len(self.labels[0])
        if not difference <= allowed:
            raise GuardError(
                f"scoring labels of {self.view.name} in one pass",
                f"a plain forward differs by {difference:.2g} (allowed {allowed:.2g})",
                "Report the model: its layers mix rows in a way chiasm does not know",
            )


@torch.no_grad()
def score_labels_singly(view: ModelView, prompt: Encoded, labels: LabelTokens) -> Float[Tensor, " C"]:
    """The same with one plain forward per label: the yardstick."""
    found = []
    with view.readable_attention():
        for label in labels:
            inputs = {key: value.cpu() for key, value in prompt.inputs.items()}
            longer = {k: v.to(view.device) for k, v in extended(inputs, label[:-1], view.family).items()}
            logits = view.model(**longer, use_cache=False).logits[0, -len(label) :]
            tokens = torch.tensor(label, device=logits.device)[:, None]
            found.append(log_probabilities(logits).gather(-1, tokens).sum().cpu())
    return torch.stack(found)


class _Packing:
    """Gives every layer the labels' own positions and mask. What the model shares between layers is made once."""

    def __init__(self, view: ModelView, sizes: Sequence[int]) -> None:
        self._view, self._sizes = view, sizes
        self._made: dict[tuple[str, int], Any] = {}
        # The originals are kept, so that their ids stay theirs.
        self._kept: list[Any] = []
        self._rows: Int[Tensor, " R"] | None = None
        self._owner: Int[Tensor, " R"] | None = None

    def hook(self, layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        hidden, named = layer_arguments(layer, args, kwargs)
        if self._rows is None:
            start = hidden.shape[1] - sum(self._sizes)
            behind = [torch.arange(start, start + size) for size in self._sizes]
            self._rows = torch.cat([torch.arange(start), *behind]).to(hidden.device)
            owner = [torch.full((size,), k + 1) for k, size in enumerate(self._sizes)]
            self._owner = torch.cat([torch.zeros(start, dtype=torch.long), *owner]).to(hidden.device)
        moved = {name: value if name in NOT_BY_ROW else self._moved(name, value) for name, value in named.items()}
        moved["attention_mask"] = self._mask(named.get("attention_mask"), hidden)
        return (hidden,), moved

    def _moved(self, name: str, value: Any) -> Any:
        if isinstance(value, tuple | list):
            return type(value)(self._moved(name, part) for part in value)
        if not isinstance(value, Tensor):
            return value
        assert self._rows is not None
        axis = row_axis(name, value, len(self._rows))
        if axis is None:
            return value
        if (name, id(value)) not in self._made:
            self._made[name, id(value)] = value.index_select(axis, self._rows)
            self._kept.append(value)
        return self._made[name, id(value)]

    def _mask(self, mask: Any, hidden: Tensor) -> Tensor:
        assert self._rows is not None
        assert self._owner is not None
        if ("mask", id(mask)) not in self._made:
            implementation = self._view.attention_implementation
            seen = allowed_rows(mask, self._rows, len(self._rows), len(hidden), implementation)
            own = (self._owner[:, None] == self._owner[None, :]) | (self._owner[None, :] == 0)
            packed = seen.index_select(2, self._rows) & own
            self._made["mask", id(mask)] = as_layer_mask(packed, implementation, hidden.dtype)
            self._kept.append(mask)
        return self._made["mask", id(mask)]
