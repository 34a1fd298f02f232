"""Models: loading one, and whether its numbers mean anything."""

from chiasm.models.conformance import Law
from chiasm.models.conformance import check as check_model
from chiasm.models.view import ModelView
from chiasm.studies.inputs import load
from chiasm.studies.options import Model

__all__ = ["check", "load"]


def check(model: Model, *, device: str | None = None, dtype: str | None = None) -> list[Law]:
    """Whether the numbers of this model mean anything: every law it must obey, with the reason where it does not."""
    return check_model(model if isinstance(model, ModelView) else load(str(model), device=device, dtype=dtype))
