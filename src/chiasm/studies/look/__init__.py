"""Attention of chosen queries, and the words that image tokens are closest to."""

from chiasm.studies.look.spec import LookSpec
from chiasm.studies.look.tables import TABLES
from chiasm.studies.study import Study

STUDY = Study(
    "look",
    LookSpec,
    TABLES,
    compute="chiasm.studies.look.run:compute",
    report="chiasm.studies.look.report:LookReporter",
    claims="chiasm.studies.look.claims:claims",
    values="chiasm.studies.look.values:values",
    order=2,
)
