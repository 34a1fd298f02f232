"""Other projectors in the model's place: put in, and aligned on captions before a domain is seen."""

import copy
from collections.abc import Sequence
from typing import Any

from chiasm.core.example import Example
from chiasm.models.projectors import parse_projector, swap_projector
from chiasm.models.view import ModelView
from chiasm.studies.project.rows import caption_rows
from chiasm.studies.project.spec import ProjectSpec
from chiasm.studies.project.tables import OWN
from chiasm.training import Options, Tuned, setting_of, trainable, tune
from chiasm.training.features import Features


def aligned(
    view: ModelView,
    projector: str,
    captions: Sequence[Example],
    spec: ProjectSpec,
    seed: int,
    features: Features | None = None,
) -> tuple[ModelView, dict[str, Any]]:
    """A copy of the model with a new projector that has learned to say captions, tower and decoder frozen.

    As LLaVA's first stage: rate 1e-3 (times the run's scale), 32 pictures a step. Without it, a new projector would be
    compared with one that has seen many pictures. What learns nothing is left as it is. `features`: the tower's, of the
    captions' pictures.
    """
    made = parse_projector(projector)
    model = copy.deepcopy(view.model)
    other = ModelView(model, swap_projector(model, view.processor, made, seed=seed), view.name)
    count = learned(other)
    result = Tuned(0, (), 0.0, None)
    if count:
        setting = setting_of("ft-proj")
        rows = caption_rows(other, captions, features)
        trainable(other, setting)
        options = Options(steps=spec.align_steps, batch=32, scale=spec.scale, seed=seed, reused=features is not None)
        result = tune(other, rows, setting, options)
    tokens = len(other.encode(captions[0], instruction="").spans["image"])
    row = {
        "projector": projector,
        "seed": seed,
        "parameters": count,
        "tokens": tokens,
        "steps": result.steps,
        "loss": late(result.losses),
    }
    return other, row


def learned(view: ModelView) -> int:
    """How many parameters the projector has."""
    return sum(parameter.numel() for parameter in view.projector.parameters()) if view.projector is not None else 0


def own_projector(view: ModelView, captions: Sequence[Example], seed: int) -> dict[str, Any]:
    """The row of the model's own projector beside those of the ones that were put in; it is aligned already."""
    tokens = len(view.encode(captions[0], instruction="").spans["image"])
    about = {"projector": OWN, "seed": seed, "parameters": learned(view), "tokens": tokens}
    return about | {"steps": 0, "loss": None}


def late(losses: Sequence[float]) -> float | None:
    """The mean of the last fifth of the losses, in nat per token."""
    last = list(losses)[-max(1, len(losses) // 5) :]
    return sum(last) / len(last) if last else None
