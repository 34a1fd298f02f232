"""Models: loading one, and whether its numbers mean anything."""

from dataclasses import dataclass

from chiasm.api.functions import function_of
from chiasm.models.conformance import Law
from chiasm.models.conformance import check as check_model
from chiasm.studies.inputs import load, view_of
from chiasm.studies.options import FunctionOptions, LoadingOptions, Model, studied_option

__all__ = ["check", "load"]


@dataclass(frozen=True)
class CheckedModel(FunctionOptions, LoadingOptions):
    """Whether the numbers of a model mean anything: every law it must obey, with the reason where it does not."""

    model: Model = studied_option()


def _check(spec: CheckedModel) -> list[Law]:
    return check_model(view_of(spec.model, spec))


check = function_of("check", CheckedModel, _check, list[Law])
