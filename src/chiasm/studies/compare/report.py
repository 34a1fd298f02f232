"""The report of a comparison of models."""

from functools import partial
from typing import final

from chiasm.results.findings import Finding
from chiasm.results.report import Drawing, Reporter
from chiasm.studies.compare.charts import accuracy_chart, outcome_chart
from chiasm.studies.compare.claims import MEAN_TOKEN
from chiasm.studies.compare.findings import compare_findings
from chiasm.studies.compare.headline import compare_headline
from chiasm.studies.compare.questions import CHARTS, QUESTIONS
from chiasm.studies.compare.spec import CompareSpec


@final
class CompareReporter(Reporter[CompareSpec]):
    """The reporter of `chiasm compare`."""

    questions = QUESTIONS
    charts = CHARTS

    @property
    def title(self) -> str:
        return f"Alignment and accuracy of {len(self.spec.models)} models"

    def headline(self) -> str:
        return compare_headline(self.claimed)

    def findings(self) -> list[Finding]:
        return compare_findings(self.claimed)

    def drawings(self) -> dict[str, Drawing]:
        rows, related = self.table("compare"), self.table("correlation")
        if rows is None or related is None:
            return {}
        caption = (
            "Accuracy against alignment score, one point per model on the same examples. Intervals are over examples; "
            f"the correlation is over n = {len(self.spec.models)} models. No control is drawn."
        )
        statistics = rows["statistic"].unique(maintain_order=True).to_list() if related.height else []
        drawn = {
            f"compare-{statistic.replace('_', '-')}": Drawing(
                partial(accuracy_chart, rows, related, statistic=statistic),
                partial(str, caption),
                reported=statistic == MEAN_TOKEN,
            )
            for statistic in statistics  # none without labels, which give no accuracy
        }
        outcomes, related = self.table("outcomes"), self.table("outcome_correlation")
        if outcomes is None or related is None:
            return drawn
        caption = (
            "Another measure against alignment score (mean token), one point per model on the same data. Intervals are "
            "over examples, the correlation over models. No control is drawn."
        )
        for task, metric in related.select("task", "metric").unique(maintain_order=True).iter_rows():
            draw = partial(outcome_chart, rows, outcomes, related, task=task, metric=metric)
            drawn[f"compare-{task}-{metric.replace('_', '-')}"] = Drawing(draw, partial(str, caption))
        return drawn

    def notes(self) -> list[str]:
        return [
            "Models that share training, data or weights are not independent points: a correlation over them is "
            "weaker evidence than its interval says, and says nothing about cause.",
            "Several scores are correlated; with each more, one is likelier to fit by chance.",
        ]
