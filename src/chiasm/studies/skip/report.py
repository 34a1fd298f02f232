"""What a skipping run reports: findings, figures, and what it leaves open."""

from functools import cached_property, partial
from typing import final

import polars as pl
from rich.console import RenderableType

from chiasm.interventions.skips import PLAN_FILE
from chiasm.results.findings import Finding
from chiasm.results.report import Drawing, Reporter, control_notes
from chiasm.results.series import with_inputs
from chiasm.studies.skip import charts
from chiasm.studies.skip.findings import skip_findings
from chiasm.studies.skip.spec import SkipSpec
from chiasm.studies.skip.tables import NONE, RECOVERED_FOLDER


@final
class SkipReporter(Reporter[SkipSpec]):
    """The reporter of `chiasm skip`."""

    @property
    def title(self) -> str:
        return f"Skipped work on {self.spec.skipped_span} tokens in {self.spec.model}"

    def findings(self) -> list[Finding]:
        return skip_findings(self.claimed, self.spec.skipped_span)

    def summary(self) -> list[RenderableType]:
        written = {"Plan": PLAN_FILE, "All verified plans": "plans", "Trained model": RECOVERED_FOLDER}
        there = {name: self.directory.path / file for name, file in written.items()}
        lines = {name: f"{name}: {path}" for name, path in there.items() if path.exists()}
        if self._plans is not None and self._plans.filter(pl.col("recommended"))["kind"].to_list() == [NONE]:
            lines["Plan"] = f"{lines['Plan']} (it leaves out nothing, as none is recommended)"
        return [*super().summary(), *lines.values()]

    def drawings(self) -> dict[str, Drawing]:
        drawn = {}
        if self._plans is not None:
            caption = (
                f"Right answers lost against operations, peak memory and measured time left: 95 % score intervals of "
                f"paired shares, each plan on its own, quartiles of time (n = {self._plans['n'][0]}). Grey band: two "
                f"equal calls; dotted: the loss allowed. "
            )
            caption += "Random layers at as many operations are the control." if self.spec.controls else "No control."
            drawn["skip"] = Drawing(partial(charts.plans, self._plans), partial(str, caption))
        recovery = self.table("recovery")
        if recovery is not None:
            what = "the projector" if self.spec.train_with_plan == "projector" else "low-rank updates of the decoder"
            caption = (
                f"Right answers before and after {self.spec.train_steps} steps of training {what}, with Wilson's "
                f"95 % intervals (n = {recovery['n'][0]}). The same steps without the plan are the control."
            )
            drawn["recovery"] = Drawing(partial(charts.recovery, recovery), partial(str, caption))
        n = self._contributions["example_id"].n_unique()
        caption = (
            f"Divergence of the answer when one part of one layer is left out for {self.spec.skipped_span} tokens "
            f"(n = {n})."
        )
        if self._controls is not None:
            caption += " Dashed: a model of the same shape with random weights."
        draw = partial(charts.contributions, self._contributions, self._controls, self.spec.skipped_span)
        return drawn | {"contributions": Drawing(draw, partial(str, caption))}

    def notes(self) -> list[str]:
        found = [
            "Contributions are measured one at a time; plans add them up, and verification says what that is worth.",
            "A plan is recommended only by bounds: the upper one of its loss lies within the loss allowed, its time is "
            "established to be shorter, and both hold for all plans that could have been chosen at once.",
            "A loss is a difference in right answers; answers that stay wrong may still change.",
            f"Seconds are of this machine and of one prompt; shares of time also of {self.spec.batch} prompts read "
            "together, which is what saves time where a prompt is short. Peak memory on a CPU counts tensors alone.",
        ]
        baseline = self._controls is not None
        return [*found, *control_notes(self.spec.controls, baseline, "what skipping random layers would cost")]

    @cached_property
    def _plans(self) -> pl.DataFrame | None:
        return self.table("plans")

    @cached_property
    def _contributions(self) -> pl.DataFrame:
        return with_inputs(self.directory.table("contributions"), self.table("examples"))

    @cached_property
    def _controls(self) -> pl.DataFrame | None:
        return self.with_inputs("contributions_controls")
