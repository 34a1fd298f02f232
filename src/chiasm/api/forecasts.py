"""The function behind `chiasm.plan`."""

from typing import Any

from chiasm.api.functions import function_of
from chiasm.studies.forecast import Forecast
from chiasm.studies.options import StudySpec
from chiasm.studies.study import study
from chiasm.studies.trial import SECONDS, forecast


def plan(verb: str, *, seconds: float = SECONDS, **options: Any) -> Forecast:
    """What a run of a study will take: time, memory, disk; `price(hourly)` for its price.

    Small runs of the first examples are made in a temporary directory for about `seconds`, and extrapolated. What the
    study does once is done in each of them, so they can take longer. `options`: those of the study, as in
    `chiasm.plan("flow", model="tiny", limit=5000)`.

    **Errors:** `ChiasmError` for an unknown study or option, one without `limit`, and those of the study itself.
    """
    found = study(verb)
    return forecast(found, function_of(f"plan {verb}", found.spec, _itself, found.spec)(**options), seconds)


def _itself(spec: StudySpec) -> StudySpec:
    return spec
