"""What the report of a run of `chiasm patch` says and shows."""

from collections import Counter
from collections.abc import Mapping
from functools import cached_property, partial
from typing import Final, final

import polars as pl

from chiasm.core.claims import of_kind
from chiasm.results import images
from chiasm.results.examples import Browsed
from chiasm.results.findings import Finding
from chiasm.results.report import Drawing, Reporter
from chiasm.results.series import in_order, with_inputs
from chiasm.studies.patch import charts
from chiasm.studies.patch.agreement import layer_curves
from chiasm.studies.patch.browse import browsed
from chiasm.studies.patch.claims import HALF
from chiasm.studies.patch.findings import patch_findings
from chiasm.studies.patch.headline import patch_headline
from chiasm.studies.patch.overview import OVERVIEW, states_table
from chiasm.studies.patch.pairs import BY_DATA, BY_IMAGE, BY_QUESTION, MINIMAL
from chiasm.studies.patch.questions import CHARTS, DIFFERENCES, QUESTIONS, UNTESTED
from chiasm.studies.patch.spec import PatchSpec
from chiasm.studies.patch.tables import RANDOM_TOKENS, SAME_ANSWER, SHUFFLED, SMALLEST

_HOW: Final = {
    BY_DATA: "named by the data",
    MINIMAL: "the same scene with one attribute of one object changed",
    BY_QUESTION: "the same question about another image, with another answer",
    BY_IMAGE: "the same question asked of the image of another example, which has another answer",
}


@final
class PatchReporter(Reporter[PatchSpec]):
    """The reporter of `chiasm patch`."""

    questions = QUESTIONS
    differences = DIFFERENCES
    untested = UNTESTED
    charts = CHARTS

    @property
    def title(self) -> str:
        return f"Which states carry the answer in {self.spec.model}"

    @property
    def methods(self) -> dict[str, list[str]]:
        """What patches, cuts and the gradient made of this page, as far as the run has them."""
        made = {
            "attention knockout": self._names("knockouts", "cut"),
            "activation patching": self._names("effects", "direction"),
            "attribution patching": self._names("screen", "direction"),
        }
        return {method: names for method, names in made.items() if names}

    def headline(self) -> str:
        return patch_headline(self.claimed)

    def figure_questions(self) -> Mapping[str, str]:
        return CHARTS

    def findings(self) -> list[Finding]:
        return patch_findings(self.claimed)

    def overview(self) -> dict[str, pl.DataFrame]:
        states = states_table(self.claimed)
        return {OVERVIEW: states} if states.height else {}

    def drawings(self) -> dict[str, Drawing]:
        effects, controls = self._shared, self._controls
        drawn: dict[str, Drawing] = {}
        if effects.height:
            recovered = of_kind(self.claimed, "recovery")
            share = (
                "Of what the donor's input takes from the log-probability of the own answer, the share that the states "
                "of one span bring back, or take away, at the input of one layer (or where it is said). "
                f"{effects['example_id'].n_unique()} pairs. Dashed: the control that comes nearest to a line where it "
                "is largest. The last position is where the answer is given: all of it is there behind the last layer."
            )
            drawn["recovery"] = Drawing(
                partial(charts.recovery_chart, effects, controls, claims=recovered), lambda: share
            )
            if controls is not None:
                beside = "Every share beside its controls. Of what is lost an unrelated donor is no null, but a scale."
                drawn["controls"] = Drawing(
                    partial(charts.controls_chart, effects, controls, claims=recovered), lambda: beside
                )
            if effects["type"].n_unique() > 1:
                kinds = "The same shares by question type; sentences compare types in the deepest established layer."
                drawn["types"] = Drawing(partial(charts.types_chart, effects), lambda: kinds)
        knockouts = self.with_inputs("knockouts")
        if knockouts is not None and effects.height and self._comparable(effects, knockouts):
            moved = (
                "What cutting attention in one layer costs, and of the same pairs the share of the gap that leaves the "
                "image's states in that layer, or reaches the last position, by patching at its input and behind it."
            )
            drawn["agreement"] = Drawing(partial(charts.agreement_chart, effects, knockouts), lambda: moved)
        screen = self.with_inputs("screen")
        if screen is not None and charts.span_rows(effects, screen).height:
            linear = (
                "Shares of whole spans by exact patches, and by the gradient (attribution patching: the sum over the "
                f"span's tokens), of {screen['example_id'].n_unique()} pairs. Where they part, the gradient is wrong."
            )
            drawn["screen"] = Drawing(partial(charts.screen_chart, effects, screen), lambda: linear)
        return drawn | self._maps()

    def examples(self) -> Browsed | None:
        known = self.table("examples")
        if known is None or not self._shared.height:
            return None
        # What the headline begins with, in the deepest layer in which it holds.
        most = [one for one in of_kind(self.claimed, "most") if one.established and one.where.isdecimal()]
        first = [one for one in most if one.about == most[0].about]
        deepest = max(first, key=lambda one: int(one.where), default=None)
        least = max((one.effect for one in of_kind(self.claimed, "smallest")), default=SMALLEST)
        return browsed(self._shared, known, self.table("pairs"), deepest=deepest, least=least)

    @property
    def facts(self) -> list[str]:
        frames = (self.directory.table("effects"), self._shared)
        pairs, shared = (frame["example_id"].n_unique() for frame in frames)
        return [f"{shared} of {pairs} pairs have a gap large enough to share out"] if shared < pairs else []

    def notes(self) -> list[str]:
        found = [
            "A state that is put into another run may be none that the model ever has there: what follows can come of "
            "that and not of what the state holds. Donors that differ in little and both directions speak against it.",
            "That states put back suffice (denoise) and that the answer is lost without them (noise) are two things. "
            "Where later layers make up for what was replaced, or two parts hold the same, they differ.",
            "A whole image patched at the first layer is the other run: all of the gap there is no finding, but where "
            "it ends is one. In the same way the last position holds all of it behind the last layer.",
            f"`most` asks whether the interval of a share lies above {HALF:g} % of the gap. Intervals hold for all "
            "spans, directions and layers at once; so does p.",
            "Shares of log-probability weigh the first steps from an improbable answer as much as the last ones to a "
            "sure one: going back they run ahead of those of the log-odds of both answers, which stand beside them.",
        ]
        pairs = self.table("pairs")
        if pairs is not None and pairs.height:
            counts = Counter(pairs["how"].to_list())
            each = "; ".join(f"{n} x {_HOW.get(how, how)}" for how, n in counts.most_common())
            found.append(f"Donors: {each}.")
        if self.spec.keep == "correct":
            found.append("Only pairs were followed of which both answers are right; --keep all takes the others.")
        found += self._missing_controls() + self._guard()
        skipped = self.directory.skipped()
        if skipped:
            reasons = Counter(item["reason"] for item in skipped).most_common(5)
            often = "; ".join(f"{n} x {reason}" for reason, n in reasons)
            found.append(f"Parts that some pairs do not have were left out of them: {often}.")
        return found

    @cached_property
    def _shared(self) -> pl.DataFrame:
        """The rows that have a share."""
        return with_inputs(self.directory.table("effects"), self.table("examples")).drop_nulls("recovery")

    @cached_property
    def _controls(self) -> pl.DataFrame | None:
        controls = self.with_inputs("controls")
        return None if controls is None else controls.drop_nulls("recovery")

    def _names(self, table: str, column: str) -> list[str]:
        rows = self.table(table, (column,))
        return [] if rows is None else in_order(rows, column)

    def _comparable(self, effects: pl.DataFrame, knockouts: pl.DataFrame) -> bool:
        found = (layer_curves(effects, knockouts.filter(pl.col("cut") == c), c) for c in in_order(knockouts, "cut"))
        return any(one is not None for one in found)

    def _missing_controls(self) -> list[str]:
        if not self.spec.controls or self._controls is None:
            return ["No control was run: whether any other states would bring as much is not known."]
        there = set(self._controls["control"])
        lacking = [charts.CONTROL_LABELS[name] for name in (SAME_ANSWER, RANDOM_TOKENS, SHUFFLED) if name not in there]
        found = [f"There is no control with {name}." for name in lacking]
        if self.table("pairs_controls") is None:
            found.append("No model with random weights stands beside the gap: --baseline random draws one.")
        return found

    def _guard(self) -> list[str]:
        guard = self.directory.manifest.get("guard")
        if not guard or not guard.get("allowed"):
            return []
        return [
            "Patches were computed in one walk down the layers; where they were compared with plain hooked forwards, "
            f"log-probabilities differed by at most {guard['largest']:.2g} nat (allowed {guard['allowed']:.2g})."
        ]

    def _maps(self) -> dict[str, Drawing]:
        tokens, examples = self.table("tokens"), self.table("examples")
        if tokens is None:
            return {}
        kept, drawn = images.kept(self.directory), {}
        for number, example in enumerate(in_order(tokens.drop_nulls("recovery"), "example_id")):
            if example not in kept:
                continue
            question, answer = "", ""
            if examples is not None:
                question, answer = examples.filter(example_id=example).select("question", "answer").row(0)
            caption = f"Example {example}: every image token patched alone, at the input of one layer. n = 1 pair."
            drawn[f"tokens-{number}"] = Drawing(
                partial(
                    charts.token_map,
                    kept[example],
                    tokens.filter(example_id=example),
                    question=question,
                    said=f"Label: {answer}." if answer else "",
                ),
                lambda caption=caption: caption,
            )
        return drawn
