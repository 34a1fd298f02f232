"""TCAV: at which layers an answer grows along the direction of a concept."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.measures.base import bound
from chiasm.measures.concepts import sensitivity
from chiasm.models.encoded import Encoded
from chiasm.models.inside.concepts import mean_states, summed_gradients
from chiasm.models.inside.rerun import Rerun
from chiasm.models.view import ModelView
from chiasm.studies.inside.explained import ExplainedAnswer, Failures
from chiasm.studies.inside.spec import ConceptOptions

MIN_IMAGES = 4


def concept_rows(
    view: ModelView,
    concepts: Mapping[str, Sequence[int]],
    images: Sequence[Encoded],
    followed: Mapping[str, Sequence[ExplainedAnswer]],
    options: ConceptOptions,
) -> tuple[list[dict[str, Any]], Failures]:
    """Rows of `concepts`, and examples that failed.

    `concepts`: which of `images` show each concept; its direction separates them from all others. `followed`: the
    answers that are followed along it. p-values are corrected over layers (max-T) and concepts (Bonferroni).

    **Errors:** `ChiasmError` for a concept that fewer than 4 images show, or that most of them show.
    """
    for name, shown in concepts.items():
        others = len(images) - len(shown)
        if len(shown) < MIN_IMAGES or others < 2 * (len(shown) // 2):
            found = f"{len(shown)} images show it and {others} do not"
            raise ChiasmError(f"the concept `{name}`", found, f"Give at least {MIN_IMAGES}, and as many without it")
    states = np.stack([mean_states(view, encoded).double().numpy() for encoded in images])
    rows, failures, tests = [], [], []
    draws, random = options.draws, options.random
    for name, shown in concepts.items():
        gradients = []
        for one in followed[name]:
            try:
                rerun = Rerun(view, one.prompt, one.answer, guard=not rows and not gradients)
            except ExampleError as error:
                failures.append((one.example.id, str(error)))
            else:
                gradients.append(summed_gradients(rerun).numpy())
        if not gradients:
            continue
        marked = np.zeros(len(images), dtype=bool)
        marked[list(shown)] = True
        found = sensitivity(states, marked, np.stack(gradients), draws=draws, concepts=random, seed=options.seed)
        tests.append(found.p)
        rows += [
            {
                "concept": name,
                "layer": layer,
                "value": float(found.score[layer]),
                "low": bound(found.low[layer]),
                "high": bound(found.high[layer]),
                "random": float(found.random[layer]),
                "random_low": float(found.random_low[layer]),
                "random_high": float(found.random_high[layer]),
                "p_published": float(found.published[layer]),
                "accuracy": float(found.accuracy[layer]),
                "draws": draws,
                "concepts": random,
                "n": len(gradients),
                "pictures": int(marked.sum()),
            }
            for layer in range(states.shape[1])
        ]
    corrected = np.minimum(1, np.concatenate(tests) * len(tests)) if tests else []
    return [row | {"p": float(p)} for row, p in zip(rows, corrected, strict=True)], failures
