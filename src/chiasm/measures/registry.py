"""All measures of alignment, found by their files in this package."""

from chiasm.core.discovery import classes_in
from chiasm.measures.base import Measure, MeasureConfig


def measure_classes() -> list[type[Measure]]:
    """The classes of all measures, in their order."""
    return sorted(classes_in("chiasm.measures", Measure), key=lambda kind: kind.order)


def measures(config: MeasureConfig) -> tuple[Measure, ...]:
    """Fresh measures of a model. Merging two sets made from equal configurations is merging them one by one."""
    made = (kind.for_model(config) for kind in measure_classes())
    return tuple(measure for measure in made if measure is not None)
