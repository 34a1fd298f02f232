"""The decoder and its head alone, run again with other vectors in place of the projector's output.

Legend: B variants, n image tokens, T positions, D width.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Self, final

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from chiasm.core.errors import ChiasmError, EmptySpanError, ExampleError, GuardError
from chiasm.core.positions import concatenate
from chiasm.models.encoded import Encoded
from chiasm.models.executors.jobs import log_probabilities
from chiasm.models.executors.memory import Sizes
from chiasm.models.executors.rounding import allowance
from chiasm.models.frame import keep_logits, layer_output, record_frame
from chiasm.models.inside.methods import AttributionTarget
from chiasm.models.view import ModelView

_BUDGET = 4 << 30


def require_gradients(view: ModelView) -> None:
    """Refuse models through which no gradient can be followed.

    **Errors:** `ChiasmError` for quantised weights and for weights that are offloaded between calls.
    """
    asked = f"follow gradients through {view.name}"
    if getattr(view.config, "quantization_config", None) is not None:
        found, todo = "its weights are quantised", "Load it with --dtype bfloat16 from a checkpoint that is not"
        raise ChiasmError(asked, found, todo)
    if any(not p.dtype.is_floating_point for p in view.model.parameters()):
        raise ChiasmError(asked, "it has weights that are no floating-point numbers", "Load it unquantised")
    if any(p.device.type == "meta" for p in view.model.parameters()):
        raise ChiasmError(asked, "part of its weights is offloaded", "Use a device that holds the whole model")


@contextmanager
def frozen_model(view: ModelView) -> Iterator[None]:
    """Evaluation mode, readable masks, and no parameter asking for a gradient; all is put back at the end."""
    with view.frozen_parameters(), view.readable_attention():
        yield


def projected_positions(encoded: Encoded) -> Int[np.ndarray, " n"]:
    """The positions of what the projector gave: image tokens without separators.

    **Errors:** `EmptySpanError` for an example without an image.
    """
    encoded.spans.require("image")
    separators = [layout.positions[layout.newline] for layout in encoded.layouts]
    return np.setdiff1d(encoded.spans["image"], concatenate(separators))


@torch.no_grad()
def projected_states(view: ModelView, encoded: Encoded) -> Float[Tensor, "n D"]:
    """What the projector hands to the decoder for one example, in float32 at least."""
    with view.readable_attention():
        hidden = record_frame(view, encoded.inputs).hidden[0]
    rows = torch.from_numpy(projected_positions(encoded)).to(hidden.device)
    return hidden[rows].to(torch.promote_types(hidden.dtype, torch.float32))


@final
class Rerun:
    """How probable the answer to one prompt is, as a function of the vectors at chosen positions of its embeddings.

    Tower, projector and prompt are computed once; a call runs the decoder's layers, the final norm and the head.
    `rows`: the positions that vary, `states` (n x D) what stands there. `target`: `answer` is the log-probability
    (nat) of all of the answer's tokens, teacher-forced; `contrast` that of its first token minus that of the most
    probable other token there. `guard`: a plain forward must give the same, or the model is refused.

    **Errors:** `ChiasmError` for models without gradients; `EmptySpanError` without rows; `ExampleError` for NaN;
    `GuardError`.
    """

    def __init__(
        self,
        view: ModelView,
        prompt: Encoded,
        answer: Sequence[int],
        rows: Int[np.ndarray, " n"] | None = None,
        *,
        target: AttributionTarget = "answer",
        guard: bool = True,
    ) -> None:
        require_gradients(view)
        # The answer's last token is only predicted, never read.
        encoded = view.append_tokens(prompt, answer[:-1])
        chosen = projected_positions(prompt) if rows is None else rows
        if not len(chosen):
            raise EmptySpanError("there is no position to vary")
        self.view, self.prompt, self.target = view, prompt, target
        with torch.no_grad(), view.readable_attention():
            self._frame = record_frame(view, encoded.inputs)
        self.length = self._frame.length
        device = self._frame.hidden.device
        self.rows = torch.from_numpy(np.asarray(chosen)).to(device)
        self._reads = torch.arange(self.length - len(answer), self.length, device=device)
        self._tokens = torch.tensor(answer, device=device)
        first = self._frame.hidden[0, self.rows]
        self.states: Float[Tensor, "n D"] = first.to(torch.promote_types(first.dtype, torch.float32))
        clean, self._other = self._clean()
        if guard:
            self._check(encoded, clean)

    def __call__(self, states: Float[Tensor, "B n D"]) -> Float[Tensor, " B"]:
        """The target for every variant; gradients reach `states`. Keep `frozen_model` open around many calls."""
        return self._value(states, self.target)

    def logprob(self, states: Float[Tensor, "B n D"]) -> Float[Tensor, " B"]:
        """The log-probability (nat) of the whole answer for every variant, whatever the target is."""
        return self._value(states, "answer")

    def with_states(self, states: Float[Tensor, "n D"]) -> Self:
        """The same prompt, explained as if `states` had stood at the rows that vary."""
        other = copy.copy(self)
        other.states = states
        return other

    @property
    def first_read(self) -> int:
        """The position that predicts the answer's first token."""
        return int(self._reads[0])

    def hidden(self, states: Float[Tensor, "B n D"]) -> Float[Tensor, "B T D"]:
        """The decoder's input with `states` at the rows that vary, in the model's own type."""
        own = self._frame.hidden
        return own.expand(len(states), -1, -1).index_copy(1, self.rows, states.to(own.dtype))

    def through(self, hidden: Float[Tensor, "B T D"]) -> Iterator[Float[Tensor, "B T D"]]:
        """The residual state behind every layer."""
        for layer, arguments in zip(self.view.layers, self._frame.arguments, strict=True):
            hidden = layer_output(layer(hidden, **arguments))
            yield hidden

    def score(self, last: Float[Tensor, "B T D"]) -> Float[Tensor, " B"]:
        """The target, from the residual state behind the last layer."""
        return self._target_value(self.view.unembed(last[:, self._reads.to(last.device)]), self.target)

    def _value(self, states: Float[Tensor, "B n D"], target: AttributionTarget) -> Float[Tensor, " B"]:
        with self.view.readable_attention():
            return self._target_value(self._logits(self.hidden(states)), target)

    def _logits(self, hidden: Float[Tensor, "B T D"]) -> Float[Tensor, "B A N"]:
        for state in self.through(hidden):
            hidden = state
        return self.view.unembed(hidden[:, self._reads.to(hidden.device)])

    def _target_value(self, logits: Float[Tensor, "B A N"], target: AttributionTarget) -> Float[Tensor, " B"]:
        found = log_probabilities(logits)
        tokens = self._tokens.to(found.device)
        if target == "contrast":
            return found[:, 0, tokens[0]] - found[:, 0, self._other]
        return found.gather(-1, tokens[None, :, None].expand(len(found), -1, -1)).sum((-1, -2))

    @torch.no_grad()
    def _clean(self) -> tuple[Float[Tensor, "A N"], int]:
        """The logits of the clean run, and the most probable first token other than the answer's."""
        with self.view.readable_attention():
            # Twice, so that the guard also sees whether the layers take several variants under one mask.
            logits = self._logits(self.hidden(self.states.expand(2, -1, -1)))[-1]
        if not bool(torch.isfinite(logits).all()):
            raise ExampleError("the model gives NaN or infinite logits for this example")
        others = logits[0].clone()
        others[self._tokens[0]] = -torch.inf
        return logits, int(others.argmax())

    @torch.no_grad()
    def _check(self, encoded: Encoded, clean: Float[Tensor, "A N"]) -> None:
        with self.view.readable_attention():
            inputs, keep = encoded.inputs, keep_logits(self.view, slice_to=len(clean))
            plain = self.view.model(**inputs, **keep, use_cache=False).logits[0, -len(clean) :]
        gaps = (log_probabilities(plain) - log_probabilities(clean)).gather(-1, self._tokens[:, None])
        difference = float(gaps.abs().max())
        allowed = allowance(self.view, inputs)
        if not difference <= allowed:
            raise GuardError(
                f"running the decoder of {self.view.name} alone",
                f"a plain forward differs by {difference:.2g} (allowed {allowed:.2g})",
                "Report the model: images enter its decoder in a way chiasm does not know",
            )


def max_variants(rerun: Rerun, *, gradients: bool) -> int:
    """How many variants fit into the memory set aside for them (4 GiB on the CPU, half of what a GPU has left)."""
    device = rerun.states.device
    budget = torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else _BUDGET
    inner = Sizes.of(rerun.view).inner
    # Per position: about a dozen states of the width and three of the feed-forward's, in each layer where a gradient
    # must come back; beside them the attention scores that are recomputed, never kept.
    each = rerun.length * (12 * rerun.view.width + 3 * inner) * 4 * (rerun.view.n_layers if gradients else 1)
    return int(min(64, max(1, budget // each)))
