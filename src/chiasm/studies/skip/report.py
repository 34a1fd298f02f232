"""What a skipping run tells: findings, figures, and what it leaves open."""

from functools import cached_property, partial
from typing import final

import polars as pl

from chiasm.core.spec import resolved
from chiasm.results.findings import Finding
from chiasm.results.series import with_inputs
from chiasm.studies.reporting import Drawing, Reporter, command_line
from chiasm.studies.skip import charts as figures
from chiasm.studies.skip.findings import skip_findings
from chiasm.studies.skip.spec import SkipSpec


@final
class SkipReporter(Reporter):
    """The reporter of `chiasm skip`."""

    @property
    def title(self) -> str:
        return f"Skipped work on {self.spec['span']} tokens in {self.spec['model']}"

    def findings(self) -> list[Finding]:
        return skip_findings(
            self._plans,
            self._contributions,
            self._twin,
            self._verdicts,
            self.spec["max_loss"],
            self._with_inputs("recovered"),
            self.spec["span"],
        )

    def drawings(self) -> dict[str, Drawing]:
        drawn = {}
        if self._plans is not None:
            told = (
                f"Right answers lost against operations, peak memory and measured time left: 95 % score intervals of "
                f"paired shares, quartiles of time (n = {self._plans['n'][0]}). Grey band: two equal calls. "
            )
            told += "Random layers at as many operations are the control." if self.spec["controls"] else "No control."
            drawn["skip"] = Drawing(partial(figures.plans, self._plans), partial(str, told))
        n = self._contributions["example_id"].n_unique()
        told = (
            f"Divergence of the answer when one part of one layer is left out for {self.spec['span']} tokens (n = {n})."
        )
        if self._twin is not None:
            told += " Dashed: a model of the same shape with random weights."
        draw = partial(figures.contributions, self._contributions, self._twin, self.spec["span"])
        recovery = self._table("recovery")
        if recovery is not None:
            what = "the projector" if self.spec["train_with_plan"] == "projector" else "low-rank updates of the decoder"
            words = (
                f"Right answers before and after {self.spec['train_steps']} steps of training {what}, with Wilson's "
                f"95 % intervals (n = {recovery['n'][0]}). The same steps without the plan are the control."
            )
            drawn["recovery"] = Drawing(partial(figures.recovery, recovery), partial(str, words))
        return drawn | {"contributions": Drawing(draw, partial(str, told))}

    def notes(self) -> list[str]:
        found = [
            "Contributions are measured one at a time; plans add them up, and verification says what that is worth.",
            "The recommended plan was chosen among several on the examples it is verified on, which flatters it; what "
            "the choice loses on inputs that did not choose it is told beside it.",
            "A loss is a difference in right answers; answers that stay wrong may still change.",
            f"Seconds are of this machine and of one prompt; shares of time also of {self.spec['unit']} prompts read "
            "together, which is what saves time where a prompt is short. Peak memory on a CPU counts tensors alone.",
        ]
        if not self.spec["controls"]:
            found.append("No control was run: what skipping random layers would cost is not known.")
        elif self._twin is None:
            found.append("No model with random weights stands beside this one; --twin names one of the same shape.")
        return found

    def command(self) -> str:
        defaults = resolved(SkipSpec(model="", data="scenes"))
        if str(self.spec["model"]).startswith("tiny"):
            defaults |= {"twin": "tiny-random"}
        return command_line("skip", self.spec, defaults)

    def _table(self, name: str) -> pl.DataFrame | None:
        return self.directory.table(name) if name in self.directory.tables() else None

    def _with_inputs(self, name: str) -> pl.DataFrame | None:
        rows = self._table(name)
        return None if rows is None else with_inputs(rows, self._table("examples"))

    @cached_property
    def _plans(self) -> pl.DataFrame | None:
        return self._table("plans")

    @cached_property
    def _verdicts(self) -> pl.DataFrame | None:
        return self._with_inputs("verdicts")

    @cached_property
    def _contributions(self) -> pl.DataFrame:
        return with_inputs(self.directory.table("contributions"), self._table("examples"))

    @cached_property
    def _twin(self) -> pl.DataFrame | None:
        return self._with_inputs("contributions_controls")
