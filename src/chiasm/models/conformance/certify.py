"""Certificates are written here and nowhere else: a family obeys every law in float64, on at least four layers."""

from typing import Final

import torch
import transformers

from chiasm.core.errors import ChiasmError
from chiasm.models.conformance.law import Law
from chiasm.models.conformance.suite import check
from chiasm.models.families.base import numbers
from chiasm.models.families.certificates import HOLDS, Certificate, fingerprint
from chiasm.models.view import ModelView

LEAST_LAYERS: Final = 4
"""Fewer have no layer that is neither the first, the last, nor beside one of them."""
ALLOWED: Final = 1e-9
"""In log-probability, float64."""


def certify(view: ModelView, known: Certificate | None) -> Certificate:
    """What the suite finds on `view`, beside what it found on other versions of transformers (if that still counts).

    **Errors:** `ChiasmError` for a model with fewer than four layers, or not in float64.
    """
    if view.n_layers < LEAST_LAYERS or view.dtype != torch.float64:
        raise ChiasmError(
            f"certify `{view.family.name}`",
            f"the model has {view.n_layers} layers in {view.dtype}",
            f"Take one of at least {LEAST_LAYERS} layers in float64",
        )
    mark = fingerprint(view.family)
    others = known.transformers if known is not None and known.fingerprint == mark else {}
    runs = {**others, transformers.__version__: said(check(view, allowed=ALLOWED))}
    return Certificate(mark, view.n_layers, dict(sorted(runs.items(), key=lambda run: numbers(run[0]))))


def said(laws: list[Law]) -> dict[str, str]:
    """Laws in the words of certificates."""
    return {law.name: HOLDS if law.ok else f"{'-' if law.ok is None else 'no'}: {law.reason}" for law in laws}
