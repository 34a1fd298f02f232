"""Evaluation: how well a model answers, and how well without seeing anything."""

from chiasm.studies.eval.spec import EvalSpec
from chiasm.studies.eval.tables import TABLES
from chiasm.studies.study import Study

STUDY = Study(
    "eval",
    EvalSpec,
    TABLES,
    compute="chiasm.studies.eval.run:compute",
    report="chiasm.studies.eval.report:EvalReporter",
    claims="chiasm.studies.eval.claims:claims",
    values="chiasm.studies.eval.values:values",
    order=9,
)
