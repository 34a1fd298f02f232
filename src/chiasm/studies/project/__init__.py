"""Projection: what tuning the projector, or the language model, to a domain buys."""

from chiasm.studies.project.spec import ProjectSpec
from chiasm.studies.project.tables import TABLES
from chiasm.studies.study import Study

STUDY = Study(
    "project",
    ProjectSpec,
    TABLES,
    compute="chiasm.studies.project.run:compute",
    report="chiasm.studies.project.report:ProjectReporter",
    claims="chiasm.studies.project.claims:claims",
    size="chiasm.studies.project.run:count_images",
    order=8,
)
