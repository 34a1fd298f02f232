"""Activation patching: which states, put in place of another input's, bring the answer with them."""

from chiasm.studies.patch.spec import PatchSpec
from chiasm.studies.patch.tables import TABLES
from chiasm.studies.study import Study

STUDY = Study(
    "patch",
    PatchSpec,
    TABLES,
    compute="chiasm.studies.patch.run:compute",
    report="chiasm.studies.patch.report:PatchReporter",
    claims="chiasm.studies.patch.claims:claims",
    values="chiasm.studies.patch.values:values",
    order=2,
)
