"""What a pruning run tells: findings, figures, and what it leaves open."""

from functools import cached_property, partial
from typing import final

import polars as pl

from chiasm.core.spec import resolved
from chiasm.results.findings import Finding
from chiasm.results.schemas import SCHEMAS
from chiasm.results.series import with_inputs
from chiasm.results.tables import conform
from chiasm.studies.prune import charts as figures
from chiasm.studies.prune.findings import prune_findings
from chiasm.studies.prune.spec import PruneSpec
from chiasm.studies.prune.summary import KEYS, mask_rows
from chiasm.studies.prune.tables import ABLATIONS, DENSE
from chiasm.studies.reporting import Drawing, Reporter, command_line


@final
class PruneReporter(Reporter):
    """The reporter of `chiasm prune`."""

    @property
    def title(self) -> str:
        return f"Pruning of {self.spec['model']}"

    def findings(self) -> list[Finding]:
        return prune_findings(self._pruned, self._controls, seed=self.spec["seed"])

    def drawings(self) -> dict[str, Drawing]:
        n = f"(n = {self._pruned['example_id'].n_unique()})"
        beside = "Random weights zeroed at the same sparsity are the control."
        if not self.spec["controls"]:
            beside = "No control was run."
        drawn = {}
        for name, value, told in (
            ("prune", "score", f"Right greedy answers by share of zeroed weights, Wilson's 95 % intervals {n}."),
            ("prune-perplexity", "perplexity", f"Perplexity of the labelled answers, 95 % bootstrap intervals {n}."),
        ):
            draw = partial(figures.prune_curves, self._masks, self._twin, value=value)
            drawn[name] = Drawing(draw, partial(str, f"{told} {beside} The grey band is the untouched model."))
        calibrated = set(self._masks["calibration"])
        if len(calibrated & set(self._masks["evaluation"])) < 2:
            return drawn
        whole = ~pl.col("mask").is_in([DENSE, *ABLATIONS])
        levels = self._masks.filter(whole).select("sparsity", "pattern").unique(maintain_order=True)
        for sparsity, pattern in levels.rows():
            stem = f"{100 * sparsity:g}" if pattern == "unstructured" else pattern.replace(":", "-of-")
            told = (
                "Right answers by the question type that a mask was calibrated on (rows) and the type of the question "
                "(columns), with half the width of Wilson's 95 % interval. Combined masks have the same final "
                "sparsity; the random mask is the control."
            )
            draw = partial(figures.transfer_map, self._masks, sparsity, pattern)
            drawn[f"transfer-{stem}"] = Drawing(draw, partial(str, told))
        return drawn

    def notes(self) -> list[str]:
        found = [
            "Calibration and evaluation share no example and no image.",
            "Zeros in a dense matrix save no time. Only 2:4 does, on a GPU with sparse tensor cores.",
            "A difference that is not significant is not an absent one: look at its interval. Where the largest of "
            "several is told, its p-value is corrected for having been picked and its interval is not.",
        ]
        told = self.directory.manifest.get("calibration")
        if told:
            sets = ", ".join(f"{name} {count}" for name, count in told["examples"].items())
            found.append(f"Calibration examples: {sets}; {told['tokens']} tokens behind every mask.")
        if not self.spec["controls"]:
            found.append("No control was run: what magnitude alone, or chance, would do is not known.")
        elif self._controls is None:
            found.append("No model with random weights stands beside this one; --twin names one of the same shape.")
        return found

    def command(self) -> str:
        defaults = resolved(PruneSpec(model="", data="scenes"))
        if str(self.spec["model"]).startswith("tiny"):
            defaults |= {"twin": "tiny-random"}
        return command_line("prune", self.spec, defaults)

    @cached_property
    def _pruned(self) -> pl.DataFrame:
        return with_inputs(self.directory.table("pruned"), self._examples)

    @cached_property
    def _controls(self) -> pl.DataFrame | None:
        if "pruned_controls" not in self.directory.tables():
            return None
        return with_inputs(self.directory.table("pruned_controls"), self._examples)

    @property
    def _examples(self) -> pl.DataFrame | None:
        return self.directory.table("examples") if "examples" in self.directory.tables() else None

    @cached_property
    def _masks(self) -> pl.DataFrame:
        # From the answers and not from `masks`, which an unfinished run does not have yet.
        return conform(SCHEMAS["masks"], mask_rows(self._pruned))

    @property
    def _twin(self) -> pl.DataFrame | None:
        if self._controls is None:
            return None
        return conform(SCHEMAS["masks_controls"], mask_rows(self._controls, (*KEYS, "control")))
