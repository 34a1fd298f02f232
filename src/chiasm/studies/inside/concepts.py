"""TCAV: at which layers an answer grows along the direction of a concept."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.measures.concepts import sensitivity
from chiasm.models.encoding.encoded import Encoded
from chiasm.models.inside.concepts import mean_states, summed_gradients
from chiasm.models.inside.rerun import Rerun
from chiasm.models.view import ModelView
from chiasm.studies.inside.spec import Asked

FEWEST = 4


def concept_rows(
    view: ModelView,
    concepts: Mapping[str, Sequence[int]],
    pictures: Sequence[Encoded],
    asked: Mapping[str, Sequence[Asked]],
    *,
    draws: int = 10,
    random: int = 500,
    seed: int = 0,
) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """Rows of `concepts`, and examples that failed.

    `concepts`: which of `pictures` show each concept; all others are what it is told from. `asked`: the examples whose
    answers are followed along it. p-values are corrected over layers (max-T) and concepts (Bonferroni).

    **Errors:** `ChiasmError` for a concept that fewer than 4 pictures show, or that most of them show.
    """
    for name, shown in concepts.items():
        others = len(pictures) - len(shown)
        if len(shown) < FEWEST or others < 2 * (len(shown) // 2):
            found = f"{len(shown)} pictures show it and {others} do not"
            raise ChiasmError(f"the concept `{name}`", found, f"Give at least {FEWEST}, and as many without it")
    states = np.stack([mean_states(view, encoded).double().numpy() for encoded in pictures])
    rows, failures, tests = [], [], []
    for name, shown in concepts.items():
        gradients = []
        for one in asked[name]:
            try:
                rerun = Rerun(view, one.prompt, one.answer, guard=not rows and not gradients)
            except ExampleError as error:
                failures.append((one.example.id, str(error)))
            else:
                gradients.append(summed_gradients(rerun).numpy())
        if not gradients:
            continue
        marked = np.zeros(len(pictures), dtype=bool)
        marked[list(shown)] = True
        followed = np.stack(gradients)
        found = sensitivity(states, marked, followed, draws=draws, concepts=random, seed=seed)
        tests.append(found.p)
        rows += [
            {
                "concept": name,
                "layer": layer,
                "value": float(found.score[layer]),
                "low": _known(found.low[layer]),
                "high": _known(found.high[layer]),
                "random": float(found.random[layer]),
                "random_low": float(found.random_low[layer]),
                "random_high": float(found.random_high[layer]),
                "p_published": float(found.published[layer]),
                "accuracy": float(found.accuracy[layer]),
                "draws": draws,
                "concepts": random,
                "n": len(followed),
                "pictures": int(marked.sum()),
            }
            for layer in range(states.shape[1])
        ]
    corrected = np.minimum(1, np.concatenate(tests) * len(tests)) if tests else []
    return [row | {"p": float(p)} for row, p in zip(rows, corrected, strict=True)], failures


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
