"""How probable the model finds a given answer: teacher-forced log-probabilities in left-padded batches."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from chiasm.models.encoding.encoded import Encoded
from chiasm.models.executors.frame import keep_logits
from chiasm.models.executors.reading import log_probabilities
from chiasm.models.view import ModelView


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
    # The logits before a token tell its probability; whatever the model kept, the last ones are at the end.
    logits = output.logits[:, -(longest + 1) : -1]
    found = []
    for row, one in zip(logits, encoded, strict=True):
        count = len(one.answer_tokens)
        tokens = torch.tensor(one.answer_tokens, device=row.device)
        found.append(log_probabilities(row[longest - count :]).gather(-1, tokens[:, None])[:, 0].cpu())
    return found
