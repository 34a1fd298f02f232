"""Whether a model of an architecture that is not listed can be used, and for what: everything is tried on the model."""

from chiasm.models.adopting.adoption import adopt
from chiasm.models.adopting.refusals import require_answerable
