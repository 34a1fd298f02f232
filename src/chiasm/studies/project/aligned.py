"""Other projectors in the model's place: put in, and aligned on captions before a domain is seen."""

import copy
from collections.abc import Sequence
from typing import Any

from chiasm.core.example import Example
from chiasm.interventions.projectors import parse_projector
from chiasm.models.projectors.swap import swap_projector
from chiasm.models.view import ModelView
from chiasm.studies.project.prepared import caption_rows
from chiasm.studies.project.spec import ProjectSpec
from chiasm.studies.project.tables import OWN
from chiasm.training.features import TowerFeatures
from chiasm.training.loop import TuningOptions, TuningResult, tune
from chiasm.training.parts import trainable
from chiasm.training.settings import setting_of


def aligned(
    view: ModelView,
    projector: str,
    captions: Sequence[Example],
    spec: ProjectSpec,
    seed: int,
    features: TowerFeatures | None = None,
) -> tuple[ModelView, dict[str, Any]]:
    """A copy of the model with a new projector that has learned to write captions, tower and decoder frozen.

    As LLaVA's first stage: rate 1e-3 (times the run's scale), 32 images a step. Without it, a new projector would be
    compared with one that has seen many images. What learns nothing is left as it is. `features`: the tower's, of the
    captions' images.
    """
    made = parse_projector(projector)
    model = copy.deepcopy(view.model)
    processor = swap_projector(model, view.processor, made, seed=seed)
    other = ModelView(model, processor, view.name, precision=view.precision)
    result = TuningResult(0, (), 0.0, None)
    if _parameters(other):
        setting = setting_of("ft-proj")
        rows = caption_rows(other, captions, features)
        trainable(other, setting)
        options = TuningOptions(
            steps=spec.align_steps, batch=32, scale=spec.scale, seed=seed, from_features=features is not None
        )
        result = tune(other, rows, setting, options)
    return other, _row(other, projector, captions, seed) | {"steps": result.steps, "loss": late_loss(result.losses)}


def own_projector(view: ModelView, captions: Sequence[Example], seed: int) -> dict[str, Any]:
    """The row of the model's own projector beside those of the ones that were put in; it is aligned already."""
    return _row(view, OWN, captions, seed) | {"steps": 0, "loss": None}


def late_loss(losses: Sequence[float]) -> float | None:
    """The mean of the last fifth of the losses, in nat per token."""
    last = list(losses)[-max(1, len(losses) // 5) :]
    return sum(last) / len(last) if last else None


def _row(view: ModelView, projector: str, captions: Sequence[Example], seed: int) -> dict[str, Any]:
    tokens = len(view.encode(captions[0], instruction="").spans["image"])
    return {"projector": projector, "seed": seed, "parameters": _parameters(view), "tokens": tokens}


def _parameters(view: ModelView) -> int:
    """How many numbers the projector learns."""
    return sum(parameter.numel() for parameter in view.projector.parameters()) if view.projector is not None else 0
