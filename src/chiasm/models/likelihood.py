"""How probable the model finds given answers: teacher-forced, one answer per prompt or many labels behind one prompt.

Many labels follow the prompt in one sequence, in one forward. Every layer is given positions and a mask, cut out of
the model's own, by which each label stands right behind the prompt and sees nothing of the others (as variants do in
the lockstep walk). So the model's layers run unchanged and the prompt is computed once.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from chiasm.core.errors import ExampleError, GuardError
from chiasm.core.example import Example
from chiasm.models.encoded import Encoded
from chiasm.models.executors.jobs import log_probabilities
from chiasm.models.executors.packed_batch import NOT_BY_ROW, row_axis
from chiasm.models.executors.rounding import allowance
from chiasm.models.frame import keep_logits, layer_arguments
from chiasm.models.masks import allowed_rows, as_layer_mask
from chiasm.models.view import ModelView

LabelTokens = Sequence[tuple[int, ...]]
"""Token ids of each label, its end of sequence included."""


@torch.no_grad()
def answer_logprobs(view: ModelView, encoded: Sequence[Encoded]) -> list[Float[Tensor, " A"]]:
    """For each example the log-probability (nat) of every token of the answer it was encoded with, on the CPU.

    Computed together as one batch. The end of the answer is not scored, so a longer continuation costs nothing.
    """
    if not encoded:
        return []
    inputs, _ = view.collate(encoded)
    longest = max(len(one.answer_tokens) for one in encoded)
    with view.readable_attention():
        output = view.model(**inputs, **keep_logits(view, slice_to=longest + 1), use_cache=False)
    # The logits before a token predict it; whatever the model kept, the last ones are at the end.
    logits = output.logits[:, -(longest + 1) : -1]
    found = []
    for row, one in zip(logits, encoded, strict=True):
        count = len(one.answer_tokens)
        tokens = torch.tensor(one.answer_tokens, device=row.device)
        found.append(log_probabilities(row[longest - count :]).gather(-1, tokens[:, None])[:, 0].cpu())
    return found


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
        longer = [self.view.append_tokens(prompt, flat) for prompt in prompts]
        inputs, _ = self.view.collate(longer)
        with self.view.readable_attention(), ExitStack() as stack:
            packed = _PackedLabels(self.view, [len(label) for label in self._fed])
            for layer in self.view.layers:
                stack.callback(layer.register_forward_pre_hook(packed.hook, with_kwargs=True).remove)
            keep = keep_logits(self.view, slice_to=len(flat) + 1)
            logits = self.view.model(**inputs, **keep, use_cache=False).logits[:, -(len(flat) + 1) :]
        found = self._summed(log_probabilities(logits))
        if bool(torch.isnan(found).any()):
            raise ExampleError("the model gives NaN logits for this example")
        if self._guard:
            self._check(prompts[0], float(found[0, 0]))
            self._guard = False
        return found

    def _summed(self, rows: Float[Tensor, "B F N"]) -> Float[Tensor, "B C"]:
        found, start = [], 0
        for label, fed in zip(self.labels, self._fed, strict=True):
            # The prompt's last row predicts the first token, and each token the one behind it.
            at = torch.tensor([0, *range(start + 1, start + 1 + len(fed))], device=rows.device)
            tokens = torch.tensor(label, device=rows.device).expand(len(rows), -1)
            found.append(rows[:, at].gather(-1, tokens[..., None]).sum((-1, -2)).cpu())
            start += len(fed)
        return torch.stack(found, dim=1)

    def _check(self, prompt: Encoded, packed: float) -> None:
        plain = score_labels_singly(self.view, prompt, self.labels[:1])
        difference = abs(float(plain[0]) - packed)
        allowed = allowance(self.view, prompt.inputs) * len(self.labels[0])
        if not difference <= allowed:
            raise GuardError(
                f"scoring labels of {self.view.name} in one pass",
                f"a plain forward differs by {difference:.2g} (allowed {allowed:.2g})",
                "Report the model: its layers mix rows in a way chiasm does not know",
            )


@torch.no_grad()
def score_labels_singly(view: ModelView, prompt: Encoded, labels: LabelTokens) -> Float[Tensor, " C"]:
    """The scores of `LabelScorer` for one prompt, with one plain forward per label: the reference."""
    found = []
    with view.readable_attention():
        for label in labels:
            inputs = view.append_tokens(prompt, label[:-1]).inputs
            logits = view.model(**inputs, use_cache=False).logits[0, -len(label) :]
            tokens = torch.tensor(label, device=logits.device)[:, None]
            found.append(log_probabilities(logits).gather(-1, tokens).sum().cpu())
    return torch.stack(found)


class _PackedLabels:
    """Gives every layer the labels' own positions and mask. What the model shares between layers is made once."""

    def __init__(self, view: ModelView, sizes: Sequence[int]) -> None:
        self._view, self._sizes = view, sizes
        # Beside what was made stands the original, so that its id stays its own.
        self._made: dict[tuple[str, int], tuple[Any, Tensor]] = {}
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
        given = {name: value if name in NOT_BY_ROW else self._gather(name, value) for name, value in named.items()}
        given["attention_mask"] = self._mask(named.get("attention_mask"), hidden)
        return (hidden,), given

    def _gather(self, name: str, value: Any) -> Any:
        if isinstance(value, tuple | list):
            return type(value)(self._gather(name, part) for part in value)
        if not isinstance(value, Tensor):
            return value
        assert self._rows is not None
        axis = row_axis(name, value, len(self._rows))
        if axis is None:
            return value
        if (name, id(value)) not in self._made:
            self._made[name, id(value)] = (value, value.index_select(axis, self._rows))
        return self._made[name, id(value)][1]

    def _mask(self, mask: Any, hidden: Tensor) -> Tensor:
        assert self._rows is not None
        assert self._owner is not None
        if ("mask", id(mask)) not in self._made:
            implementation = self._view.attention_implementation
            seen = allowed_rows(mask, self._rows, len(self._rows), len(hidden), implementation)
            own = (self._owner[:, None] == self._owner[None, :]) | (self._owner[None, :] == 0)
            packed = seen.index_select(2, self._rows) & own
            self._made["mask", id(mask)] = (mask, as_layer_mask(packed, implementation, hidden.dtype))
        return self._made["mask", id(mask)][1]
