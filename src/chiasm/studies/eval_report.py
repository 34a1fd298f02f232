"""What an eval run tells."""

from functools import partial
from typing import final

from chiasm.core.spec import resolved
from chiasm.results import figures
from chiasm.results.figures import captions
from chiasm.results.findings import Finding, eval_findings
from chiasm.studies.eval import EvalSpec
from chiasm.studies.reporting import Drawing, Reporter, command_line


@final
class EvalReporter(Reporter):
    """The reporter of `chiasm eval`."""

    @property
    def title(self) -> str:
        return f"Answers of {self.spec['model']}"

    def findings(self) -> list[Finding]:
        return eval_findings(self.directory.table("eval"), seed=self.spec["seed"])

    def drawings(self) -> dict[str, Drawing]:
        rows = self.directory.table("eval")
        blind = self.directory.table("blind") if "blind" in self.directory.tables() else None
        return {
            "accuracy": Drawing(
                partial(figures.eval_bars, rows, blind), partial(captions.accuracy, rows, blind is not None)
            )
        }

    def notes(self) -> list[str]:
        found = ["An answer is right when it equals the label; a synonym counts as wrong."]
        if not self.spec["blind"]:
            found.append("What the questions give away without the image was not measured; --blind does.")
        return found

    def command(self) -> str:
        return command_line("eval", self.spec, resolved(EvalSpec(model="", data="scenes")))
