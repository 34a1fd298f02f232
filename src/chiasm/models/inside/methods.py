"""The names of what is attributed and of the methods: for whoever declares options, so without torch."""

from typing import Final, Literal

AttributionTarget = Literal["answer", "contrast"]
"""The log-probability of the answer, or that of its first token minus the runner-up's."""
AttributionMethod = Literal["integrated-gradients", "gradient-shap", "kernel-shap"]
ATTRIBUTION_METHODS: Final[tuple[AttributionMethod, ...]] = ("integrated-gradients", "gradient-shap", "kernel-shap")
