"""What a skipping run reports: findings, figures, and what it leaves open."""

from functools import cached_property, partial
from typing import Final, final

import polars as pl
from rich.console import RenderableType

from chiasm.interventions.skips import PLAN_FILE
from chiasm.results.examples import Browsed
from chiasm.results.findings import Finding
from chiasm.results.report import Drawing, Reporter, control_notes, shared_models_note
from chiasm.results.series import with_inputs
from chiasm.studies.skip import charts
from chiasm.studies.skip.advice import skip_advice
from chiasm.studies.skip.browse import browsed
from chiasm.studies.skip.findings import skip_findings
from chiasm.studies.skip.headline import skip_headline
from chiasm.studies.skip.overview import plans_table
from chiasm.studies.skip.questions import CHARTS, DIFFERENCES, QUESTIONS, UNTESTED
from chiasm.studies.skip.spec import SkipSpec
from chiasm.studies.skip.tables import ERROR_SHARE, FAST_V, NO_BATCH, NONE, RECOVERED_FOLDER, SHORT_V, V_SKIP

_METHODS: Final = {SHORT_V: "ShortV", V_SKIP: "V-Skip", FAST_V: "FastV"}


@final
class SkipReporter(Reporter[SkipSpec]):
    """The reporter of `chiasm skip`."""

    questions = QUESTIONS
    differences = DIFFERENCES
    untested = UNTESTED
    charts = CHARTS

    @property
    def title(self) -> str:
        return f"Skipped work on {self.spec.skipped_span} tokens in {self.spec.model}"

    @property
    def methods(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for plan, kind in () if self._plans is None else self._plans.select("plan", "kind").rows():
            if kind in _METHODS:
                found.setdefault(_METHODS[kind], []).append(plan)
        return found

    def headline(self) -> str:
        return skip_headline(self.claimed)

    def advice(self) -> list[str]:
        return skip_advice(self.claimed)

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
                "Every plan by the time that it leaves (geometric mean of its ratios to plain calls) and the right "
                f"answers that it loses, n = {self._plans['n'][0]}. Intervals of losses and times hold for all plans "
                "that could be chosen at once, those of controls' losses each on its own; times of plans that are not "
                "compared (controls, and those that leave out no operations) have none. Both axes are logarithmic, "
                "that of losses beyond a point either way, so that losses of a tenth of a point and of fifty are both "
                "seen. Dotted: the loss allowed; two equal calls. Operations and memory are in the table. "
            )
            caption += "Random layers at as many operations are the control." if self.spec.controls else "No control."
            draw = partial(charts.plans_chart, self._plans, claims=self.claimed)
            drawn["skip"] = Drawing(draw, partial(str, caption))
        recovery = self.table("recovery")
        if recovery is not None:
            what = "the projector" if self.spec.train_with_plan == "projector" else "low-rank updates of the decoder"
            caption = (
                f"Right answers before and after {self.spec.train_steps} steps of training {what}, with Wilson's "
                f"95 % intervals (n = {recovery['n'][0]}). The same steps without the plan are the control."
            )
            draw = partial(charts.recovery_chart, recovery)
            drawn["recovery"] = Drawing(draw, partial(str, caption))
        n = self._contributions["example_id"].n_unique()
        caption = (
            f"Divergence of the answer when one part of one layer is left out for {self.spec.skipped_span} tokens "
            f"(n = {n}). What is below the scale, 0 too, stands at its lower end."
        )
        if self._controls is not None:
            caption += " Dashed: a model of the same shape with random weights."
        draw = partial(
            charts.contributions_chart,
            self._contributions,
            self._controls,
            span=self.spec.skipped_span,
            claims=self.claimed,
        )
        return drawn | {"contributions": Drawing(draw, partial(str, caption))}

    def overview(self) -> dict[str, pl.DataFrame]:
        if self._plans is None:
            return {}
        caption = (
            "What does each plan cost, and what does it save? The fewest operations first; in brackets 95 % intervals "
            "over all plans that could be chosen at once (of controls' losses each on its own). Times: geometric mean "
            f"of ratios to plain calls{self._repeats()}; faster or slower is said where the change is beyond that "
            "between two equal calls as well. Controls, and plans that leave out no operations, are timed but not "
            "compared. Too noisy: two equal calls differ by more than what would be saved."
        )
        return {caption: plans_table(self._plans, self.claimed)}

    def examples(self) -> Browsed | None:
        verdicts, known = self.table("verdicts"), self.table("examples")
        return None if verdicts is None or known is None else browsed(verdicts, known)

    def notes(self) -> list[str]:
        floor = ERROR_SHARE * self.spec.smallest_effect
        found = [
            *self._counts(),
            "Many intervals are equally wide: where nearly all answers agree, those that would differ are seen too "
            f"rarely for their spread to be known. So a standard error below {floor:g} nat counts as so much, and "
            "losses without any changed answer have the interval that their number allows.",
            "Contributions are measured one at a time; plans add them up, and verification says what that is worth.",
            "A plan is recommended only by bounds: the upper one of its loss lies within the loss allowed, its time is "
            "established to be shorter, and both hold for all plans that could have been chosen at once.",
            "A loss is a difference in right answers; answers that stay wrong may still change.",
            f"Seconds are of this machine and of one prompt; shares of time also of {self.spec.batch} prompts read "
            "together, which is what saves time where a prompt is short. Peak memory on a CPU counts tensors alone.",
        ]
        if str(self.directory.manifest.get("precision", "")).startswith("weights in"):
            served = f"as it is served, in {self.directory.manifest['dtype']}"
            found.append(f"Times and memory are of the model {served}; losses are computed in float32.")
        baseline = self._controls is not None
        found += shared_models_note(self._controls)
        return [*found, *control_notes(self.spec.controls, baseline, "what skipping random layers would cost")]

    @property
    def facts(self) -> list[str]:
        chose = self._contributions["example_id"].n_unique()
        judged = [] if self._plans is None else [f"{self._plans['n'][0]} judged the plans"]
        return [", ".join([f"{chose} chose the layers", *judged])]

    def _repeats(self) -> str:
        """How often plans were timed."""
        timings = self.table("timings")
        return "" if timings is None else f" in {timings['repeat'].n_unique()} rounds"

    def _counts(self) -> list[str]:
        """How many examples chose, judged, and were left out."""
        chose = self._contributions["example_id"].n_unique()
        if self._plans is None:
            return []
        reasons = [item["reason"] for item in self.directory.left_out()]
        text = f"{chose} examples measured contributions and chose the layers; {self._plans['n'][0]} others judged"
        rest = reasons.count(NO_BATCH)
        if rest:
            text += f"; {rest} did neither, as examples that choose are taken in whole batches"
        return [f"{text}."]

    @cached_property
    def _plans(self) -> pl.DataFrame | None:
        return self.table("plans")

    @cached_property
    def _contributions(self) -> pl.DataFrame:
        return with_inputs(self.directory.table("contributions"), self.table("examples"))

    @cached_property
    def _controls(self) -> pl.DataFrame | None:
        return self.with_inputs("contributions_controls")
