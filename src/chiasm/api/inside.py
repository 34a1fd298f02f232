"""`chiasm.attribute`, `chiasm.neurons` and `chiasm.concepts`: where inside the model an answer comes from."""

from chiasm.api.functions import function_of
from chiasm.studies.inside import run
from chiasm.studies.inside.report import Inside
from chiasm.studies.inside.spec import AttributeSpec, ConceptsSpec, NeuronsSpec

attribute = function_of("attribute", AttributeSpec, run.attribute, Inside)
neurons = function_of("neurons", NeuronsSpec, run.neurons, Inside)
concepts = function_of("concepts", ConceptsSpec, run.concepts, Inside)
