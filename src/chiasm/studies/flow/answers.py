"""Answer tracking: how probable the answer's words are when the state of the last position is read at every depth."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from chiasm.core.errors import GuardError
from chiasm.core.example import Example
from chiasm.models.executors.guard import TOLERANCE
from chiasm.models.view import ModelView


def forms_of(example: Example) -> dict[str, str]:
    """The written forms to follow, by the name they have in the table: the labelled answer's, then every option's.

    Source: Zhang et al. 2025, section 4 (lower-case against capitalised answers, true against false options).
    """
    answer = example.answer.strip()
    forms = {"lower": answer.lower(), "capital": answer.capitalize()} if answer else {}
    for option in example.options:
        written = option.strip()
        forms |= {form: form for form in (written.lower(), written.capitalize()) if form}
    return forms


@torch.no_grad()
def answer_rows(
    view: ModelView,
    example: Example,
    states: Float[Tensor, "S D"],
    forms: dict[str, int],
    target: int,
    clean: float,
) -> list[dict[str, Any]]:
    """Rows of the table `answers`: the probability of every form's first token at every state 0..L.

    `prob_raw` is as released: un-normed, except state L, which transformers hands out normed. `target`, `clean`: the
    token whose log-probability at the model's own output is known.

    **Errors:** `GuardError` if the lens does not give the model's own output where it must, at state L.
    """
    states = states.to(view.device)
    normed = _probabilities(view.unembed(states))
    raw = _probabilities(view.unembed(states, normed=False))
    raw[-1] = normed[-1]
    off = abs(float(normed[-1, target].log()) - clean)
    # `not <=` so that NaN is a mismatch too.
    if not off <= TOLERANCE[view.dtype]:
        raise GuardError(
            f"reading states of {view.name} through its head",
            f"at the last layer the log-probability is off by {off:.2g} from the model's own",
            "Report the model: it does more between its last layer and its logits than chiasm knows",
        )
    return [
        {
            "example_id": example.id,
            "type": example.type,
            "layer": layer,
            "form": form,
            "token_id": token,
            "prob": normed[layer, token].item(),
            "prob_raw": raw[layer, token].item(),
        }
        for form, token in forms.items()
        for layer in range(len(states))
    ]


def _probabilities(logits: Float[Tensor, "S N"]) -> Float[Tensor, "S N"]:
    return torch.softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1).cpu()
