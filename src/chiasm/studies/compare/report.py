"""What a comparison of models tells."""

import shlex
from functools import partial
from typing import final

from chiasm.core.spec import resolved
from chiasm.results.findings import Finding
from chiasm.results.provenance import without_machine_paths
from chiasm.studies.compare.charts import score_against_accuracy, score_against_outcome
from chiasm.studies.compare.findings import compare_findings, outcome_findings
from chiasm.studies.compare.run import CompareSpec
from chiasm.studies.reporting import Drawing, Reporter, command_line


@final
class CompareReporter(Reporter):
    """The reporter of `chiasm align --compare`."""

    @property
    def title(self) -> str:
        return f"Alignment and accuracy of {len(self.spec['models'])} models"

    def findings(self) -> list[Finding]:
        found = compare_findings(self.directory.table("compare"), self.directory.table("correlation"))
        if "outcome_correlation" in self.directory.tables():
            found += outcome_findings(self.directory.table("outcome_correlation"))
        return sorted(found, key=lambda finding: -finding.strength)

    def drawings(self) -> dict[str, Drawing]:
        if "correlation" not in self.directory.tables():
            return {}
        rows, related = self.directory.table("compare"), self.directory.table("correlation")
        caption = (
            "Accuracy against alignment score, one point per model on the same examples. Intervals are over examples; "
            f"the correlation is over n = {len(self.spec['models'])} models. No control is drawn."
        )
        drawings = {
            f"compare-{statistic.replace('_', '-')}": Drawing(
                partial(score_against_accuracy, rows, related, statistic), partial(str, caption)
            )
            for statistic in rows["statistic"].unique(maintain_order=True)
            if related.height  # no labels, no accuracy
        }
        return drawings | self._others()

    def _others(self) -> dict[str, Drawing]:
        if "outcome_correlation" not in self.directory.tables():
            return {}
        names = ("compare", "outcomes", "outcome_correlation")
        rows, outcomes, related = (self.directory.table(name) for name in names)
        pairs = related.select("task", "metric").unique(maintain_order=True).iter_rows()
        caption = (
            "Another measure against alignment score (mean token), one point per model on the same data. Intervals are "
            "over examples, the correlation over models. No control is drawn."
        )
        return {
            f"compare-{task}-{metric.replace('_', '-')}": Drawing(
                partial(score_against_outcome, rows, outcomes, related, task, metric), partial(str, caption)
            )
            for task, metric in pairs
        }

    def notes(self) -> list[str]:
        return [
            "Models that share training, data or weights are not independent points: a correlation over them is "
            "weaker evidence than its interval says, and says nothing about cause.",
            "Several scores are correlated; with each more, one is likelier to fit by chance.",
        ]

    def command(self) -> str:
        spec = {"model": "--compare", **{k: v for k, v in self.spec.items() if k != "models"}}
        names = " ".join(shlex.quote(name) for name in self.spec["models"])
        defaults = resolved(CompareSpec(models=("a", "b"), data="scenes"))
        return without_machine_paths(
            command_line("align", spec, defaults).replace("--compare", f"--compare {names}", 1)
        )
