"""Implicit alignment: whether what a model sees and what it reads share a space."""

from chiasm.studies.align.spec import AlignSpec
from chiasm.studies.align.tables import TABLES
from chiasm.studies.study import Study

STUDY = Study(
    "align",
    AlignSpec,
    TABLES,
    compute="chiasm.studies.align.run:compute",
    report="chiasm.studies.align.report:AlignReporter",
    claims="chiasm.studies.align.claims:claims",
    order=3,
)
