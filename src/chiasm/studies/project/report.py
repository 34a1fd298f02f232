"""What a project run found: sentences, figures, and what it leaves open."""

from functools import partial
from typing import final

import polars as pl

from chiasm.results import images
from chiasm.results.examples import Browsed
from chiasm.results.findings import Finding
from chiasm.results.report import Drawing, Reporter
from chiasm.results.series import in_order
from chiasm.studies.inside.report import NAMES, Inside
from chiasm.studies.project import charts, probe_charts, published
from chiasm.studies.project.advice import project_advice
from chiasm.studies.project.browse import browsed
from chiasm.studies.project.findings import capacity_findings, tuning_findings
from chiasm.studies.project.headline import project_headline
from chiasm.studies.project.levels import best_setting, swept
from chiasm.studies.project.overview import overview
from chiasm.studies.project.questions import CHARTS, DIFFERENCES, QUESTIONS
from chiasm.studies.project.scores import LINE, UNTUNED
from chiasm.studies.project.spec import ProjectSpec
from chiasm.studies.project.tables import OWN
from chiasm.studies.project.verdict import verdict
from chiasm.training.settings import MAX_RATE

_OVERVIEW = (
    "What to do in each domain? The setting that changes least of those that come near the best; in brackets 95 % "
    "intervals over all settings at once."
)


@final
class ProjectReporter(Reporter[ProjectSpec]):
    """The reporter of `chiasm project`."""

    questions = QUESTIONS
    differences = DIFFERENCES
    charts = CHARTS

    @property
    def title(self) -> str:
        return f"Does the projector of {self.spec.model} learn to see?"

    def headline(self) -> str:
        if self.table("tuning") is None:
            return "No setting has been tuned yet."
        return project_headline(self.claimed, self.spec.smallest_effect)

    def advice(self) -> list[str]:
        said = [] if self.table("tuning") is None else project_advice(self.claimed, self.spec.smallest_effect)
        return ["Domain by domain:", *said] if len(said) > 1 else said

    def overview(self) -> dict[str, pl.DataFrame]:
        found = None if self.table("tuning") is None else overview(self.claimed, self.spec.smallest_effect)
        return {} if found is None or not found.height else {_OVERVIEW: found}

    def findings(self) -> list[Finding]:
        tuning, predictions = self.table("tuning"), self.table("predictions")
        if tuning is None or predictions is None:
            return [Finding("No setting has been tuned yet: the run is not finished.", 100.0)]
        smallest = self.spec.smallest_effect
        found = tuning_findings(self.claimed, smallest) + verdict(self.claimed, smallest)
        found += capacity_findings(self.claimed)
        found += self._inside().ranked_findings()
        return sorted(found, key=lambda finding: -finding.strength)

    def drawings(self) -> dict[str, Drawing]:
        tuning, predictions = self.table("tuning"), self.table("predictions")
        if tuning is None or predictions is None:
            return {}
        references, aligned = self.table("references"), self.table("aligned")
        drawn, claims = {}, self.claimed
        richness, probed = self.table("richness"), self.table("probed")
        read = richness is not None and probed is not None
        if read and LINE in self.spec.probes:
            draw = partial(charts.verdict_chart, tuning, predictions, probed, references, claims=claims)
            drawn["verdict"] = Drawing(draw, partial(charts.verdict_caption, tuning))
        draw = partial(charts.tuning_chart, tuning, predictions, references, claims=claims)
        drawn["tuning"] = Drawing(draw, partial(charts.tuning_caption, tuning, references))
        draw = partial(charts.confusion_chart, tuning, predictions)
        drawn["confusion"] = Drawing(draw, partial(charts.confusion_caption, tuning))
        if read:
            draw = partial(probe_charts.richness_chart, probed)
            drawn["richness"] = Drawing(draw, partial(probe_charts.richness_caption, probed))
            if LINE in self.spec.probes:
                draw = partial(probe_charts.layers_chart, probed)
                drawn["layers"] = Drawing(draw, partial(probe_charts.layers_caption, probed))
            if UNTUNED in self.spec.settings and len(self.spec.settings) > 1:
                draw = partial(probe_charts.drift_chart, tuning, probed, claims=claims)
                caption = partial(probe_charts.drift_caption, probed)
                drawn["drift"] = Drawing(draw, caption, reported=False)
        if aligned is not None and swept(tuning):
            draw = partial(charts.capacity_chart, tuning, predictions, aligned, references, claims=claims)
            drawn["capacity"] = Drawing(draw, partial(charts.capacity_caption, tuning, aligned))
        return drawn | self._inside().drawings()

    def layouts(self) -> dict[str, pl.DataFrame]:
        tuning, predictions, references = (self.table(name) for name in ("tuning", "predictions", "references"))
        if tuning is None or predictions is None or references is None:
            return {}
        brackets = (
            "in brackets 95 % intervals over images and seeds, over all settings at once; of references, which have "
            "one seed, over images and each on its own; of uniform guessing, where 95 % of draws lie"
        )
        found = {
            f"Table 1: macro-F1 ({brackets}) and accuracy": published.table_one(
                tuning, predictions, references, self.claimed
            ),
            f"Table 2: macro-F1 of the probe on the projector's output and of the model ({brackets}), with changes "
            "in % (a dash where none is established)": published.table_two(
                tuning, predictions, self.table("richness"), self.claimed
            ),
            "What each setting learnt: macro-F1 of free answers, less that of the untouched model, answers that name "
            "no class, and the share right among the labels alone (in brackets 95 % intervals over all lines)": (
                published.learnt_table(self.claimed)
            ),
            "Change of what probes read of the projector's output, after tuning less before, in macro-F1 (in brackets "
            "95 % intervals over all lines at once; without: the seeds give none that is usable)": (
                published.richness_table(self.claimed, self.spec.smallest_effect)
            ),
            f"Table 3: an MLP on the tower's image embedding ({brackets})": published.table_three(
                references, self.claimed
            ),
        }
        own = tuning.filter(projector=OWN)
        for domain in in_order(own, "domain"):
            best = best_setting(own.filter(domain=domain))
            caption = (
                f"Confusion on {domain} under {best}, the highest macro-F1: share of each class's images (rows) "
                "that is answered as each; n: answers over all seeds; classes that were never answered are left out"
            )
            found[caption] = published.confusion(predictions, domain, best)
        return {caption: table for caption, table in found.items() if table.height}

    @property
    def present(self) -> set[str]:
        tuning = self.table("tuning")
        return super().present | (set() if tuning is None else set(tuning["domain"]))

    def _inside(self) -> Inside:
        tables = {name: table for name in NAMES if (table := self.table(name)) is not None}
        return Inside(tables, images.kept(self.directory))

    def examples(self) -> Browsed | None:
        tuning, predictions = self.table("tuning"), self.table("predictions")
        if tuning is None or predictions is None:
            return None
        own = tuning.filter(projector=OWN)
        best = {domain: best_setting(own.filter(domain=domain)) for domain in in_order(own, "domain")}
        return browsed(predictions, best)

    def notes(self) -> list[str]:
        found = [
            "Which prompt words stood for the task of three of the paper's domains, its answer parser, its seeds, and "
            "whether its FT-Proj was trained without the question are unknown; the released code is a setting here.",
            "An answer that names no class, or several, counts as wrong and is never left out.",
            "All settings see the training images equally often, not until they stop learning, and FT-Proj in half the "
            "steps of FT-E2E, as published: one that learnt nothing may need more (--epochs).",
        ]
        if self.spec.trained_probes:
            found.append(
                "A projector cannot add to what an image shows: richness is what a probe learns to read from as many "
                "training images as there are, and differs between probes. Pooling to one vector hides what only "
                "the arrangement of patches shows."
            )
        if self.spec.scale is None:
            found.append(
                "The published rates were multiplied by 4096 / width of the decoder (the tower's by 1024 / its width), "
                f"up to {MAX_RATE:g}: a rule of thumb."
            )
        if self.spec.contrastive is None:
            found.append("The tower's own zero-shot answers were not measured: no contrastive model was named.")
        return found
