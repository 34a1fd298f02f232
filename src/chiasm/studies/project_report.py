"""What a project run tells."""

from collections.abc import Mapping
from functools import partial
from typing import Any, final

import polars as pl

from chiasm.core.spec import resolved
from chiasm.results.figures.project_tuning import tuning_bars, tuning_caption
from chiasm.results.findings import Finding
from chiasm.results.project_tuning_findings import tuning_findings
from chiasm.studies.project_spec import ProjectSpec
from chiasm.studies.reporting import Drawing, Reporter, command_line


@final
class ProjectReporter(Reporter):
    """The reporter of `chiasm project`."""

    @property
    def title(self) -> str:
        return f"Does the projector of {self.spec['model']} learn to see?"

    def _table(self, name: str) -> pl.DataFrame | None:
        return self.directory.table(name) if name in self.directory.tables() else None

    def findings(self) -> list[Finding]:
        tuning, predictions = self._table("tuning"), self._table("predictions")
        if tuning is None or predictions is None:
            return [Finding("No setting has been tuned yet: the run is not finished.", 100.0)]
        return tuning_findings(tuning, predictions, self._table("references"))

    def drawings(self) -> dict[str, Drawing]:
        tuning, predictions = self._table("tuning"), self._table("predictions")
        if tuning is None or predictions is None:
            return {}
        references = self._table("references")
        return {
            "tuning": Drawing(
                partial(tuning_bars, tuning, predictions, references), partial(tuning_caption, tuning, references)
            )
        }

    def notes(self) -> list[str]:
        found = [
            "Which prompt words stood for the task of three of the paper's domains, its answer parser, its seeds, and "
            "whether its FT-Proj was trained without the question are unknown; the released code is a setting here.",
            "An answer that names no class, or several, counts as wrong and is never left out.",
        ]
        if self.spec["scale"] is None:
            found.append(
                "The published rates were multiplied by 4096 / width of the decoder, which is a rule of thumb."
            )
        if self.spec["contrastive"] is None:
            found.append("The tower's own zero-shot answers were not measured: no contrastive model was named.")
        return found

    def command(self) -> str:
        defaults = resolved(ProjectSpec(model="", data="surfaces, leaves"))
        return command_line("project", _as_typed(self.spec), _as_typed(defaults))


def _as_typed(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The spec under the names of the command line; the domains are what was named, not what they are called."""
    renamed = {"settings": "setting", "projectors": "projector"}
    typed = {renamed.get(name, name): value for name, value in spec.items() if name not in ("domains", "data")}
    return typed | {"domain": str(spec["data"]).split(", ")}
