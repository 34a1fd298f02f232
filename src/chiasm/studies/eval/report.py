"""What an eval run tells."""

from functools import partial
from typing import final

import polars as pl

from chiasm.core.spec import resolved
from chiasm.results.findings import Finding, eval_findings
from chiasm.results.series import with_inputs
from chiasm.studies.eval import charts_accuracy
from chiasm.studies.eval.charts import caption, drawn, measures
from chiasm.studies.eval.metric_findings import metric_findings
from chiasm.studies.eval.spec import EvalSpec
from chiasm.studies.flow import captions
from chiasm.studies.reporting import Drawing, Reporter, command_line


@final
class EvalReporter(Reporter):
    """The reporter of `chiasm eval`."""

    @property
    def title(self) -> str:
        return f"Answers of {self.spec['model']}"

    @property
    def _measured(self) -> list[str]:
        """The measures of the run, the main one first; runs of older versions and unfinished ones have none."""
        if "metrics" not in self.directory.tables():
            return ["accuracy"]
        return self.directory.table("metrics")["metric"].unique(maintain_order=True).to_list()

    @property
    def _rows(self) -> pl.DataFrame:
        examples = self.directory.table("examples") if "examples" in self.directory.tables() else None
        return with_inputs(self.directory.table("eval"), examples)

    def findings(self) -> list[Finding]:
        rows = self._rows
        right = eval_findings(rows, seed=self.spec["seed"]) if "accuracy" in self._measured else []
        if self._measured == ["accuracy"]:
            return right
        other = metric_findings(self.directory.table("metrics"), rows)
        return [*right, *other] if self._measured[0] == "accuracy" else [*other, *right]

    def drawings(self) -> dict[str, Drawing]:
        rows = self._rows
        blind = self.directory.table("blind") if "blind" in self.directory.tables() else None
        drawings = {}
        if "accuracy" in self._measured:
            drawings["accuracy"] = Drawing(
                partial(charts_accuracy.eval_bars, rows, blind), partial(captions.accuracy, rows, blind is not None)
            )
        if self._measured != ["accuracy"]:
            metrics = self.directory.table("metrics")
            for name, percent in (("measures", True), ("scales", False)):
                if drawn(metrics, percent).height:
                    drawings[name] = Drawing(partial(measures, metrics, percent=percent), partial(caption, metrics))
        return drawings

    def notes(self) -> list[str]:
        measured = self._measured
        found = []
        if "accuracy" in measured:
            found.append("An answer is right when it equals the label; a synonym counts as wrong.")
        if "cider_d" in measured:
            found.append("CIDEr-D takes its weights from these references: it does not compare with other examples'.")
        if "chair_i" in measured:
            found.append("CHAIR sees objects of its list only, and a text that names less hallucinates less.")
        if not self.spec["blind"]:
            found.append("What the questions give away without the image was not measured; --blind does.")
        return found

    def command(self) -> str:
        return command_line("eval", self.spec, resolved(EvalSpec(model="", data="scenes")))
