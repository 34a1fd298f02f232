"""Skipping: work on perceptual tokens that a model can do without, at what loss, and what time that saves."""

from chiasm.studies.skip.spec import SkipSpec
from chiasm.studies.skip.tables import TABLES
from chiasm.studies.study import Study

STUDY = Study(
    "skip",
    SkipSpec,
    TABLES,
    compute="chiasm.studies.skip.run:compute",
    report="chiasm.studies.skip.report:SkipReporter",
    claims="chiasm.studies.skip.claims:claims",
    order=6,
)
