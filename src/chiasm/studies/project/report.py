"""What a project run tells."""

from collections.abc import Mapping
from functools import partial
from typing import Any, final

import polars as pl

from chiasm.core.spec import resolved
from chiasm.results import images as pictures
from chiasm.results.findings import Finding
from chiasm.studies.inside.report import NAMES, Inside
from chiasm.studies.project.capacity import capacity_findings, swept
from chiasm.studies.project.charts_capacity import capacity_caption, capacity_points
from chiasm.studies.project.charts_richness import (
    drift_caption,
    layers_caption,
    richness_drift,
    richness_layers,
    richness_settings,
    settings_caption,
)
from chiasm.studies.project.charts_tuning import tuning_bars, tuning_caption
from chiasm.studies.project.findings import verdict
from chiasm.studies.project.spec import ProjectSpec
from chiasm.studies.project.tuning_findings import tuning_findings
from chiasm.studies.reporting import Drawing, Reporter, command_line
from chiasm.training.settings import HIGHEST


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
        found = tuning_findings(tuning, predictions, self._table("references"))
        probed, shape = self._table("probed"), self._table("representations")
        if probed is not None and shape is not None:
            found += verdict(tuning, predictions, self._table("references"), probed, shape)
        found += capacity_findings(tuning, predictions, self._table("aligned"))
        found += self._inside().told()
        return sorted(found, key=lambda finding: -finding.strength)

    def drawings(self) -> dict[str, Drawing]:
        tuning, predictions = self._table("tuning"), self._table("predictions")
        if tuning is None or predictions is None:
            return {}
        references = self._table("references")
        drawn = {
            "tuning": Drawing(
                partial(tuning_bars, tuning, predictions, references), partial(tuning_caption, tuning, references)
            )
        }
        richness, probed = self._table("richness"), self._table("probed")
        if richness is not None and probed is not None:
            controls = self._table("richness_controls")
            drawn |= self._probes(tuning, richness, controls, probed)
        aligned = self._table("aligned")
        if aligned is not None and swept(tuning):
            drawn["capacity"] = Drawing(
                partial(capacity_points, tuning, predictions, aligned, references),
                partial(capacity_caption, tuning, aligned),
            )
        return drawn | self._inside().drawings()

    def _inside(self) -> Inside:
        there = {name: self.directory.table(name) for name in NAMES if name in self.directory.tables()}
        return Inside(there, pictures.kept(self.directory))

    def _probes(
        self, tuning: pl.DataFrame, richness: pl.DataFrame, controls: pl.DataFrame | None, probed: pl.DataFrame
    ) -> dict[str, Drawing]:
        drawn = {
            "richness": Drawing(partial(richness_settings, probed), partial(settings_caption, probed)),
        }
        if "linear" in self.spec["probes"]:
            drawn["layers"] = Drawing(partial(richness_layers, richness, controls), partial(layers_caption, richness))
        if "zero-shot" in self.spec["settings"] and len(self.spec["settings"]) > 1:
            drawn["drift"] = Drawing(partial(richness_drift, tuning, probed), partial(drift_caption, probed))
        return drawn

    def notes(self) -> list[str]:
        found = [
            "Which prompt words stood for the task of three of the paper's domains, its answer parser, its seeds, and "
            "whether its FT-Proj was trained without the question are unknown; the released code is a setting here.",
            "An answer that names no class, or several, counts as wrong and is never left out.",
        ]
        if self.spec["probes"]:
            found.append(
                "A projector cannot add to what a picture shows: richness is what a probe learns to read from as many "
                "training pictures as there are, and differs between probes. Pooling to one vector hides what only "
                "the arrangement of patches tells."
            )
        if self.spec["scale"] is None:
            found.append(
                "The published rates were multiplied by 4096 / width of the decoder (the tower's by 1024 / its width), "
                f"up to {HIGHEST:g}: a rule of thumb."
            )
        if self.spec["contrastive"] is None:
            found.append("The tower's own zero-shot answers were not measured: no contrastive model was named.")
        return found

    def command(self) -> str:
        defaults = resolved(ProjectSpec(model="", data="surfaces, leaves"))
        return command_line("project", _as_typed(self.spec), _as_typed(defaults))


def _as_typed(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The spec under the names of the command line; the domains are what was named, not what they are called."""
    renamed = {"settings": "setting", "projectors": "projector", "probes": "probe"}
    typed = {renamed.get(name, name): value for name, value in spec.items() if name not in ("domains", "data")}
    return typed | {"domain": str(spec["data"]).split(", "), "probe": list(spec["probes"]) or ["none"]}
