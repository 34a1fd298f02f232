"""Pruning: weights that can be left out, at what loss, and whether one mask serves all tasks."""

from chiasm.studies.prune.spec import PruneSpec
from chiasm.studies.prune.tables import TABLES
from chiasm.studies.study import Study

STUDY = Study(
    "prune",
    PruneSpec,
    TABLES,
    compute="chiasm.studies.prune.run:compute",
    report="chiasm.studies.prune.report:PruneReporter",
    claims="chiasm.studies.prune.claims:claims",
    order=7,
)
