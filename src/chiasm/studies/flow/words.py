"""Words decoded at the question positions, against the captions of the image."""

import re
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from chiasm.core.example import Example
from chiasm.models.view import ModelView


@torch.no_grad()
def word_rows(
    view: ModelView, example: Example, states: Float[Tensor, "S n D"], positions: Sequence[int]
) -> list[dict[str, Any]]:
    """Rows of the table `words`: the most probable token at every state 0..L of every question position.

    Source: Zhang et al. 2025, released code (overlap with the column `captions`). A caption's words are matched whole,
    case ignored, so a word that the tokenizer splits is not found; an example without captions has null there.
    """
    known = {word for caption in example.captions for word in re.findall(r"\w+", caption.lower())}
    rows = []
    for layer, state in enumerate(states):
        logits = view.unembed(state.to(view.device))
        best = torch.softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1).max(dim=-1)
        for position, token, prob in zip(positions, best.indices.tolist(), best.values.tolist(), strict=True):
            word = view.tokenizer.decode([token]).strip()
            rows.append(
                {
                    "example_id": example.id,
                    "type": example.type,
                    "layer": layer,
                    "position": position,
                    "token_id": token,
                    "word": word,
                    "prob": prob,
                    "in_captions": word.lower() in known if known else None,
                }
            )
    return rows
