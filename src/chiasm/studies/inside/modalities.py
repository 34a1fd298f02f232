"""How much of an answer rests on the image, and how much on the question."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from chiasm.models.encoding.encoded import Encoded
from chiasm.models.inside.attribution import kernel_shap, two_players
from chiasm.models.inside.rerun import Rerun, picture_rows
from chiasm.models.view import ModelView


def modalities(
    view: ModelView,
    prompt: Encoded,
    answer: Sequence[int],
    base: Float[Tensor, "n D"],
    features: Int[np.ndarray, " n"],
    *,
    samples: int,
    seed: int,
) -> list[dict[str, Any]]:
    """The image's share of an answer, by Kernel SHAP over super-patches and question tokens, and of two players.

    A question's token that is out stands at the mean of the vocabulary. `blank` repeats the measurement with the
    image's tokens at their baseline: nothing rests on them then, and what is found all the same is noise.

    Source: Parcalabescu & Frank 2023 (MM-SHAP), equations 2 and 3; two players: Shapley 1953, exact. Assumption: sums
    of absolute values grow with the number of features, so shares compare settings and not modalities of unlike length.

    **Errors:** `EmptySpanError` without a question.
    """
    image, question = picture_rows(prompt), prompt.spans.require("question")
    rows = np.concatenate([image, question])
    whole = Rerun(view, prompt, answer, rows, guard=False)
    mean = view.embeddings.weight.detach().float().mean(0).to(base)
    out = torch.cat([base, mean.expand(len(question), -1)])
    blank = whole.with_states(torch.cat([base, whole.states[len(image) :]]))
    first = np.arange(len(rows)) < len(image)
    joined = np.concatenate([features, features.max() + 1 + np.arange(len(question))])

    def shapley(run: Rerun) -> tuple[float, float]:
        tokens = kernel_shap(run, out, joined, samples=samples, seed=seed).tokens
        return float(np.abs(tokens[first]).sum()), float(np.abs(tokens[~first]).sum())

    def players(run: Rerun) -> tuple[float, float]:
        one, other = two_players(run, out, first)
        return abs(one), abs(other)

    return [
        {"method": name, "image": own[0], "text": own[1], "share": _share(*own), "blank": _share(*nothing)}
        for name, own, nothing in (
            ("kernel-shap", shapley(whole), shapley(blank)),
            ("two-players", players(whole), players(blank)),
        )
    ]


def _share(image: float, text: float) -> float:
    return image / (image + text) if image + text else 0.0
