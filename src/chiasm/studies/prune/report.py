"""What a pruning run reports: findings, figures, and what it leaves open."""

from functools import cached_property, partial
from typing import final

import polars as pl
from rich.console import RenderableType

from chiasm.interventions.masks import ABLATIONS
from chiasm.results.examples import Browsed
from chiasm.results.findings import Finding
from chiasm.results.report import Drawing, Reporter, control_notes
from chiasm.results.series import with_inputs
from chiasm.results.tables import conform
from chiasm.studies.prune import charts
from chiasm.studies.prune.browse import browsed
from chiasm.studies.prune.findings import prune_findings
from chiasm.studies.prune.headline import prune_advice, prune_headline
from chiasm.studies.prune.overview import overview
from chiasm.studies.prune.questions import CHARTS, DIFFERENCES, QUESTIONS, UNTESTED
from chiasm.studies.prune.scores import KEYS, mask_rows
from chiasm.studies.prune.spec import PruneSpec
from chiasm.studies.prune.tables import DENSE, MASKS, MASKS_CONTROLS

_OVERVIEW = (
    "What does each level cost, and what does it save? Wanda on all types; in brackets 95 % intervals over all levels "
    "at once. Masks are zeros in dense matrices: neither the file nor the time of a call shrinks, unless "
    "zeros are stored as such or a kernel leaves them out (2:4 on a GPU with sparse tensor cores)."
)


@final
class PruneReporter(Reporter[PruneSpec]):
    """The reporter of `chiasm prune`."""

    questions = QUESTIONS
    differences = DIFFERENCES
    untested = UNTESTED
    charts = CHARTS

    @property
    def title(self) -> str:
        return f"Pruning of {self.spec.model}"

    @property
    def methods(self) -> dict[str, list[str]]:
        return {"Wanda": ["wanda"]}

    def headline(self) -> str:
        return prune_headline(self.claimed)

    def overview(self) -> dict[str, pl.DataFrame]:
        found = overview(self.claimed)
        return {_OVERVIEW: found} if found.height else {}

    def advice(self) -> list[str]:
        return prune_advice(self.claimed)

    def findings(self) -> list[Finding]:
        calibrated = set(self._pruned["calibration"])
        return prune_findings(self.claimed, types=len(calibrated & set(self._pruned["type"])))

    def summary(self) -> list[RenderableType]:
        manifest = self.directory.manifest
        # Runs of earlier versions have no note of it.
        exported = manifest.get("exported", manifest.get("given", {}).get("export"))
        return [*super().summary(), *([f"Pruned model: {exported}"] if exported else [])]

    def drawings(self) -> dict[str, Drawing]:
        n = f"(n = {self._pruned['example_id'].n_unique()})"
        random = "Random weights zeroed at the same sparsity are the control."
        control = random if self.spec.controls else "No control was run."
        # From the answers and not from `masks`, which an unfinished run does not have yet.
        masks = conform(MASKS, mask_rows(self._pruned))
        baseline = self._controls
        if baseline is not None:
            baseline = conform(MASKS_CONTROLS, mask_rows(baseline, (*KEYS, "control")))
        drawn = self._transfer(masks)
        for name, value, caption in (
            ("prune", "score", f"Right greedy answers under every mask, Wilson's 95 % intervals {n}."),
            ("prune-perplexity", "perplexity", f"Perplexity of the labelled answers, 95 % bootstrap intervals {n}."),
        ):
            draw = partial(charts.masks_chart, masks, baseline, value=value)
            caption = partial(str, f"{caption} {control} The line is the untouched model.")
            drawn[name] = Drawing(draw, caption, reported=value == "score")
        return drawn

    def _transfer(self, masks: pl.DataFrame) -> dict[str, Drawing]:
        """A map for each level, where there are several types; that nearest to half the weights is reported."""
        if len(set(masks["calibration"]) & set(masks["evaluation"])) < 2:
            return {}
        whole = ~pl.col("mask").is_in([DENSE, *ABLATIONS])
        caption = (
            "Right answers by the question type that a mask was calibrated on (rows) and the type of the question "
            "(columns), with Wilson's 95 % interval. Combined masks have the same final sparsity; "
            "the random mask is the control."
        )
        levels = masks.filter(whole).select("sparsity", "pattern").unique(maintain_order=True).rows()
        shown = min(levels, key=lambda level: abs(level[0] - 0.5))
        drawn = {}
        for sparsity, pattern in sorted(levels, key=lambda level: level != shown):
            stem = f"{100 * sparsity:g}" if pattern == "unstructured" else pattern.replace(":", "-of-")
            draw = partial(charts.transfer_chart, masks, sparsity=sparsity, pattern=pattern)
            reported = (sparsity, pattern) == shown
            drawn[f"transfer-{stem}"] = Drawing(draw, partial(str, caption), reported=reported)
        return drawn

    def examples(self) -> Browsed | None:
        known = self.table("examples")
        return None if known is None else browsed(self._pruned, known)

    def notes(self) -> list[str]:
        found = [
            "Calibration and evaluation share no example and no image.",
            "Zeros in a dense matrix save no time. Only 2:4 does, on a GPU with sparse tensor cores.",
            "A difference that is not established is not an absent one: look at its interval. Intervals and p-values "
            "hold for all levels and masks of one comparison at once, so that the largest may be picked.",
            "Random masks are one draw; other draws may differ.",
        ]
        calibration = self.directory.manifest.get("calibration")
        if calibration:
            sets = ", ".join(f"{name} {count}" for name, count in calibration["examples"].items())
            found.append(f"Calibration examples: {sets}; {calibration['tokens']} tokens behind every mask.")
        baseline = self._controls is not None
        return [*found, *control_notes(self.spec.controls, baseline, "what magnitude alone, or chance, would do")]

    @cached_property
    def _pruned(self) -> pl.DataFrame:
        return with_inputs(self.directory.table("pruned"), self.table("examples"))

    @cached_property
    def _controls(self) -> pl.DataFrame | None:
        return self.with_inputs("pruned_controls")
