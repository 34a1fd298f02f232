"""What a run over several models tells, in the layout of the alignment paper."""

import shlex
from functools import cached_property, partial
from typing import Any, final

import polars as pl

from chiasm.core.spec import resolved
from chiasm.results.findings import Finding
from chiasm.results.provenance import without_machine_paths
from chiasm.studies.paper import charts as curves
from chiasm.studies.paper import charts_maps as maps
from chiasm.studies.paper import charts_masks as masks
from chiasm.studies.paper.findings import paper_findings
from chiasm.studies.paper.spec import PaperSpec, twins
from chiasm.studies.paper.tables import TOGETHER, TOGETHER_TWINS
from chiasm.studies.reporting import Drawing, Reporter, command_line

_SEVERAL = 4
"""Columns of Figure 3; more would be too narrow to read."""


@final
class PaperReporter(Reporter):
    """The reporter of `chiasm align --paper`."""

    @property
    def title(self) -> str:
        return f"The figures of the alignment paper for {self._main} and its kin"

    def findings(self) -> list[Finding]:
        return paper_findings(self._tables, self._main, self._twins.get(self._main), self._groups())

    def drawings(self) -> dict[str, Drawing]:
        there, main, twins = self._tables, self._main, self._twins
        twin = twins.get(main)
        beside = _TWIN if twins else "No control was run."
        similar, score, models = there["paper_similarity"], there["paper_score"], there["paper_models"]
        drawn: dict[str, tuple[Any, str]] = {}
        together = TOGETHER if TOGETHER in set(similar["model"]) else main
        told = _TOGETHER if together == TOGETHER else _ALONE.format(main)
        control = TOGETHER_TWINS if together == TOGETHER and TOGETHER_TWINS in set(similar["model"]) else twin
        drawn["figure-2"] = (partial(maps.two, similar, there["paper_map"], together, control), f"{_TWO} {told}")
        columns = [main, *(m for m in self._columns() if m != main)][:_SEVERAL]
        drawn["figure-3"] = (partial(curves.three, there["paper_norms"], there["paper_drift"], columns, twins), _THREE)
        groups = self._groups()
        for stem, steps in self._steps().items():
            name = "figure-7" if "figure-7" not in drawn else f"figure-7-{stem}"
            drawn[name] = (partial(curves.seven, similar, score, steps, twins.get(steps[0][0])), f"{_SEVEN} {stem}.")
        drawn["figure-8"] = (partial(maps.eight, there["paper_inside"], similar, main, twin), f"{_EIGHT} {main}.")
        drawn["figure-9"] = (partial(maps.nine, models, score, groups, twins), _NINE)
        every = groups[_VARIANTS]
        variants, rest = every[: len(curves.COLOURS)], every[len(curves.COLOURS) :]
        left_out = f" Not drawn, for want of colours: {', '.join(rest)}." if rest else ""
        drawn["figure-13"] = (partial(curves.thirteen, there, variants, twin), f"{_THIRTEEN}{left_out}")
        overlap, random = self._masks("paper_overlap", together, control)
        drawn["figure-22"] = (partial(masks.twenty_two, overlap, random), f"{_MASKS} {told} {_NULL}")
        drawn["figure-22-layers"] = (partial(masks.twenty_two_layers, overlap, random), f"{_LAYERS} {told} {_NULLS}")
        if "paper_overlap_tasks" in there:
            tasks, random = self._masks("paper_overlap_tasks", main, twin)
            drawn["figure-22-tasks"] = (partial(masks.twenty_two, tasks, random), f"{_TASKS} {main}. {_NULL}")
        return {k: Drawing(draw, partial(str, f"{caption} {beside}")) for k, (draw, caption) in drawn.items()}

    def _masks(self, table: str, model: str, twin: str | None) -> tuple[pl.DataFrame, pl.DataFrame | None]:
        """The rows of a model in a table of masks, and those of its twin, if there are any."""
        rows = self._tables[table]
        random = rows.filter(pl.col("model") == (twin or ""))
        return rows.filter(pl.col("model") == model), random if random.height else None

    def notes(self) -> list[str]:
        found = [
            "The figures have the published layout; values say nothing about the published models.",
            "Cosines over all pairs of examples, as published, mix what examples share with what one example shares.",
            "Variants and checkpoints share weights and training: they are not independent points.",
            "Between models of one decoder, every pair of tokens is of two different examples.",
        ]
        if not self._steps():
            found.append("Figure 7 needs checkpoints of one model, named `NAME-STEPS`; none was given.")
        if TOGETHER not in set(self._tables["paper_similarity"]["model"]):
            found.append("No two kinds of data meet in one decoder here: Figures 2 and 22 show one model alone.")
        return found

    def command(self) -> str:
        spec: dict[str, Any] = {"model": "--paper", **{k: v for k, v in self.spec.items() if k not in _FIXED}}
        if len(set(self.spec["data"])) == 1:
            # Several sources are those that the models' names stand for.
            spec["data"] = self.spec["data"][0]
        names = " ".join(shlex.quote(name) for name in self.spec["models"])
        defaults = resolved(PaperSpec(models=("a",), data=("scenes",))) | {"data": "scenes"}
        text = command_line("align", spec, defaults).replace("--paper", f"--paper --compare {names}", 1)
        return without_machine_paths(text)

    @cached_property
    def _tables(self) -> dict[str, pl.DataFrame]:
        return {name: self.directory.table(name) for name in self.directory.tables()}

    @property
    def _main(self) -> str:
        return next(name for name in self.spec["models"] if name not in self.spec["twin"])

    @cached_property
    def _twins(self) -> dict[str, str]:
        """The model with random weights that stands beside each other one."""
        return twins(self.spec["twin"], dict(self._tables["paper_models"].select("model", "data").iter_rows()))

    @property
    def _trained(self) -> pl.Expr:
        return ~pl.col("model").is_in(list(self.spec["twin"]))

    def _columns(self) -> list[str]:
        """Models that are no checkpoint and no twin, those of one decoder with others first."""
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
        rows = self._tables["paper_models"]
        data = rows.filter(pl.col("model") == self._main)["data"][0]
        chosen = (pl.col("data") == data) & pl.col("step").is_null() & self._trained
        steps = {f"checkpoints of {stem}": [m for m, _ in steps] for stem, steps in self._steps().items()}
        return steps | {_VARIANTS: rows.filter(chosen)["model"].to_list()}


_VARIANTS = "variants"
_FIXED = ("models", "data")
_TWIN = "Dashed, a cross or a last panel: the twin with random weights, on the same examples."
_TOGETHER = "Models that share one frozen decoder, each with its own data, stand together."
_ALONE = "Of {} alone: no other kind of data meets the same decoder."
_TWO = (
    "Paper's Figure 2. Left: cosine of mean tokens over pairs of different examples, of one kind (P perceptual, T "
    "text) between data sets and between halves of one, and of both kinds within a data set. Right: t-SNE of mean "
    "tokens, where distances between clusters mean nothing; lines join the tokens of one example."
)
_THREE = "Paper's Figure 3. Norms of tokens (above) and cosine of each token with itself one block later (below)."
_SEVEN = (
    "Paper's Figure 7. Left: cosine of mean perceptual and textual tokens over all pairs of examples, at training "
    "steps. Right: the scores. Of"
)
_EIGHT = (
    "Paper's Figure 8. Norm of tokens, cosine of each token with itself at the same place one block later, and cosine "
    "of mean perceptual and textual tokens over all pairs of examples, at every place inside the blocks. The last "
    "panel below is the twin with random weights. Of"
)
_NINE = "Paper's Figure 9. Share of right answers against the alignment score."
_THIRTEEN = (
    "Paper's Figure 13. Variants on the same examples: cosine of mean tokens over all pairs of examples, change and "
    "norm of perceptual tokens, divergence of their words from the text's, and cosine of their own words with those of "
    "the next state that is read."
)
_MASKS = "Paper's Figure 22. Overlap of the half of the weights that Wanda keeps, mean over all matrices."
_TASKS = "Paper's Figure 22, by task: the same between question types and between spans within each, of"
_LAYERS = "Paper's Figure 22 by layer and kind of matrix."
_NULL = "Beside it the nulls: shuffled norms of the second span, and magnitude alone; random masks give 0.33."
_NULLS = (
    "Nulls: shuffled norms, magnitude alone, random masks; the ceiling is what one span's two halves have in common."
)
