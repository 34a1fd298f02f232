"""Information flow: where and when what a model sees reaches the question and the answer."""

from chiasm.studies.flow.spec import FlowSpec
from chiasm.studies.flow.tables import TABLES
from chiasm.studies.study import Study

STUDY = Study(
    "flow",
    FlowSpec,
    TABLES,
    compute="chiasm.studies.flow.run:compute",
    report="chiasm.studies.flow.report:FlowReporter",
    claims="chiasm.studies.flow.claims:claims",
    values="chiasm.studies.flow.values:values",
    order=1,
)
