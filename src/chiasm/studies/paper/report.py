"""The report of a run over several models: the figures of the alignment paper."""

from collections.abc import Callable
from functools import cached_property, partial
from typing import final

import polars as pl

from chiasm.results.charts.lines import Chart
from chiasm.results.charts.theme import PALETTE
from chiasm.results.findings import Finding
from chiasm.results.report import Drawing, Reporter
from chiasm.studies.align.charts.weights import overlap_matrix
from chiasm.studies.align.findings import judging_notes
from chiasm.studies.paper import charts
from chiasm.studies.paper.claims import VARIANTS, groups
from chiasm.studies.paper.findings import paper_findings
from chiasm.studies.paper.headline import paper_headline
from chiasm.studies.paper.questions import CHARTS, DIFFERENCES, QUESTIONS
from chiasm.studies.paper.spec import PaperSpec, baselines_beside
from chiasm.studies.paper.tables import TOGETHER, TOGETHER_BASELINES

_COLUMNS = 4
"""Columns of Figure 3; more would be too narrow to read."""


@final
class PaperReporter(Reporter[PaperSpec]):
    """The reporter of `chiasm paper`."""

    questions = QUESTIONS
    differences = DIFFERENCES
    charts = CHARTS

    @property
    def title(self) -> str:
        return f"The figures of the alignment paper for {self._main} and its kin"

    @property
    def methods(self) -> dict[str, list[str]]:
        return {"Wanda": ["figure-22"]} if "figure-22" in self.drawings() else {}

    def headline(self) -> str:
        return paper_headline(self.claimed)

    def findings(self) -> list[Finding]:
        return paper_findings(self.claimed, self._main)

    def drawings(self) -> dict[str, Drawing]:
        there, main, baselines = self._tables, self._main, self._baselines
        baseline = baselines.get(main)
        similar, score, models = there["paper_similarity"], there["paper_score"], there["paper_models"]
        drawn: dict[str, tuple[Callable[..., Chart], str]] = {}
        together, whose, control = main, _ALONE.format(main), baseline
        if TOGETHER in set(similar["model"]):
            together, whose = TOGETHER, _TOGETHER
            control = TOGETHER_BASELINES if TOGETHER_BASELINES in set(similar["model"]) else baseline
        draw = partial(charts.pairs_chart, similar, model=together, baseline=control)
        drawn["figure-2"] = (draw, f"{_FIGURE_2} {whose}")
        if there["paper_map"].filter(model=together, method="tsne").height:
            drawn["figure-2-map"] = (partial(charts.map_chart, there["paper_map"], model=together), _FIGURE_2_MAP)
        columns = [main, *(m for m in self._columns() if m != main)][:_COLUMNS]
        beside = {"models": columns, "baselines": baselines}
        drawn["figure-3"] = (partial(charts.drift_chart, there["paper_drift"], **beside), _FIGURE_3)
        drawn["figure-3-norms"] = (partial(charts.norms_chart, there["paper_norms"], **beside), _FIGURE_3_NORMS)
        groups = self._groups()
        for stem, steps in self._steps().items():
            name = "figure-7" if "figure-7" not in drawn else f"figure-7-{stem}"
            trained = {"steps": steps, "baseline": baselines.get(steps[0][0])}
            drawn[name] = (partial(charts.steps_chart, similar, **trained), f"{_FIGURE_7} {stem}.")
            drawn[f"{name}-scores"] = (
                partial(charts.step_scores_chart, score, **trained),
                f"{_FIGURE_7_SCORES} {stem}.",
            )
        inside = there["paper_inside"]
        draw = partial(charts.inside_chart, inside, similar, model=main, baseline=baseline)
        drawn["figure-8"] = (draw, f"{_FIGURE_8} {main}.")
        drawn["figure-8-norms"] = (partial(charts.inside_norms_chart, inside, model=main), f"{_FIGURE_8_NORMS} {main}.")
        draw = partial(charts.scores_chart, models, score, groups=groups, baselines=baselines)
        drawn["figure-9"] = (draw, _FIGURE_9)
        variants, rest = groups[VARIANTS][: len(PALETTE)], groups[VARIANTS][len(PALETTE) :]
        left_out = f" Not drawn, for want of colours: {', '.join(rest)}." if rest else ""
        draw = partial(charts.variants_chart, there, models=variants, baseline=baseline)
        drawn["figure-13"] = (draw, f"{_FIGURE_13}{left_out}")
        masks = self._masks("paper_overlap", together, control)
        draw = partial(overlap_matrix, *masks, title="Do both kinds of tokens use the same weights?")
        drawn["figure-22"] = (draw, f"{_FIGURE_22} {whose} {_NULL}")
        drawn["figure-22-layers"] = (partial(charts.overlap_chart, *masks), f"{_FIGURE_22_LAYERS} {whose} {_NULLS}")
        if "paper_overlap_tasks" in there:
            masks = self._masks("paper_overlap_tasks", main, baseline)
            drawn["figure-22-tasks"] = (partial(overlap_matrix, *masks), f"{_FIGURE_22_TASKS} {main}. {_NULL}")
        said = _BESIDE if baselines else "No control was run."
        return {k: Drawing(draw, partial(str, f"{caption} {said}")) for k, (draw, caption) in drawn.items()}

    def notes(self) -> list[str]:
        found = [
            "The figures show what the published ones do; values say nothing about the published models.",
            "Cosines over all pairs of examples, as published, mix what examples share with what one example shares.",
            "Variants and checkpoints share weights and training: they are not independent points.",
            "Between models of one decoder, every pair of tokens is of two different examples.",
        ]
        found += judging_notes(self.spec.smallest_effect)
        if not self._steps():
            found.append("Figure 7 needs checkpoints of one model, named `NAME-STEPS`; none was given.")
        if TOGETHER not in set(self._tables["paper_similarity"]["model"]):
            found.append("No two kinds of data meet in one decoder here: Figures 2 and 22 show one model alone.")
        return found

    @cached_property
    def _tables(self) -> dict[str, pl.DataFrame]:
        return {name: self.directory.table(name) for name in self.directory.tables()}

    @property
    def _main(self) -> str:
        return next(name for name in self.spec.names if name not in self.spec.baseline_names)

    @cached_property
    def _baselines(self) -> dict[str, str]:
        """The model with random weights that stands beside each other one."""
        data = dict(self._tables["paper_models"].select("model", "data").iter_rows())
        return baselines_beside(self.spec.baseline_names, data)

    @property
    def _trained(self) -> pl.Expr:
        return ~pl.col("model").is_in(list(self.spec.baseline_names))

    def _masks(self, table: str, model: str, baseline: str | None) -> tuple[pl.DataFrame, pl.DataFrame | None]:
        """The rows of a model in a table of masks, and those of its baseline, if there are any."""
        rows = self._tables[table]
        random = rows.filter(pl.col("model") == (baseline or ""))
        return rows.filter(pl.col("model") == model), random if random.height else None

    def _columns(self) -> list[str]:
        """Models that are no checkpoint and no baseline, those of one decoder with others first."""
        rows = self._tables["paper_models"].filter(pl.col("step").is_null() & self._trained)
        rows = rows.with_columns(pl.col("model").count().over("decoder").alias("shared"))
        by_data = rows.sort("shared", "accuracy", descending=True).unique("data", keep="first", maintain_order=True)
        return [*by_data["model"], *(m for m in rows["model"] if m not in set(by_data["model"]))]

    def _steps(self) -> dict[str, list[tuple[str, int]]]:
        """Checkpoints by the model that they are of, in order."""
        rows = self._tables["paper_models"].filter(pl.col("step").is_not_null()).sort("step")
        found: dict[str, list[tuple[str, int]]] = {}
        for stem, model, step in rows.select("stem", "model", "step").iter_rows():
            found.setdefault(stem, []).append((model, step))
        return {stem: steps for stem, steps in found.items() if len(steps) > 1}

    def _groups(self) -> dict[str, list[str]]:
        """Models that are put side by side: checkpoints of one run, and variants asked about what the main one was."""
        return groups(self._tables["paper_models"])


_BESIDE = "Dashed, hollow or a last panel: the random-weights baseline, on the same examples."
_TOGETHER = "Models that share one frozen decoder, each with its own data, stand together."
_ALONE = "Of {} alone: no other kind of data meets the same decoder."
_FIGURE_2 = (
    "Paper's Figure 2, left: cosine of mean tokens over pairs of different examples, of one kind (P perceptual, T "
    "text) between data sets and between halves of one, and of both kinds within a data set."
)
_FIGURE_2_MAP = "Paper's Figure 2, right: t-SNE of mean tokens, where distances between clusters mean nothing."
_FIGURE_3 = "Paper's Figure 3, below: cosine of each token with itself one block later."
_FIGURE_3_NORMS = "Paper's Figure 3, above: norms of tokens."
_FIGURE_7 = (
    "Paper's Figure 7, left: cosine of mean perceptual and textual tokens over all pairs of examples, at training "
    "steps, of"
)
_FIGURE_7_SCORES = "Paper's Figure 7, right: the alignment scores at training steps, of"
_FIGURE_8 = (
    "Paper's Figure 8: cosine of each token with itself at the same place one block later, and of mean perceptual and "
    "textual tokens over all pairs of examples, at every place inside the blocks. The last panel is the random-weights "
    "baseline. Of"
)
_FIGURE_8_NORMS = "Paper's Figure 8, norms: of tokens at every place inside the blocks, of"
_FIGURE_9 = "Paper's Figure 9. Share of right answers against the alignment score."
_FIGURE_13 = (
    "Paper's Figure 13. Variants on the same examples: cosine of mean tokens over all pairs of examples, change and "
    "norm of perceptual tokens, divergence of their words from the text's, and cosine of their own words with those of "
    "the next state that is read."
)
_FIGURE_22 = "Paper's Figure 22. Overlap of the half of the weights that Wanda keeps, mean over all matrices."
_FIGURE_22_TASKS = "Paper's Figure 22, by task: the same between question types and between spans within each, of"
_FIGURE_22_LAYERS = "Paper's Figure 22 by layer and kind of matrix."
_NULL = "Beside it the nulls: shuffled norms of the second span, and magnitude alone; random masks give 0.33."
_NULLS = (
    "Nulls: shuffled norms, magnitude alone, random masks; the ceiling is what one span's two halves have in common."
)
