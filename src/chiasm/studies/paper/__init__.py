"""The figures of the alignment paper for one's own models."""

from chiasm.studies.paper.spec import PaperSpec
from chiasm.studies.paper.tables import TABLES
from chiasm.studies.study import Study

STUDY = Study(
    "paper",
    PaperSpec,
    TABLES,
    compute="chiasm.studies.paper.run:compute",
    report="chiasm.studies.paper.report:PaperReporter",
    claims="chiasm.studies.paper.claims:claims",
    size="chiasm.studies.paper.run:count_examples",
    order=5,
)
