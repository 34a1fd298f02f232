"""Whether the alignment score of models goes with how well they answer."""

from chiasm.studies.compare.spec import CompareSpec
from chiasm.studies.compare.tables import TABLES
from chiasm.studies.study import Study

STUDY = Study(
    "compare",
    CompareSpec,
    TABLES,
    compute="chiasm.studies.compare.run:compute",
    report="chiasm.studies.compare.report:CompareReporter",
    claims="chiasm.studies.compare.claims:claims",
    size="chiasm.studies.compare.run:count_examples",
    order=4,
)
