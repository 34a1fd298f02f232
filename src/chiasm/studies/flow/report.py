"""What a flow run found: sentences, figures, and what it leaves open."""

from collections import Counter
from functools import cached_property, partial
from typing import final

import polars as pl

from chiasm.core.claims import of_kind, strongest
from chiasm.interventions.states import ABLATE
from chiasm.results import images
from chiasm.results.examples import Browsed
from chiasm.results.findings import Finding
from chiasm.results.report import Drawing, Reporter, control_notes
from chiasm.results.schemas import RANDOM_WEIGHTS
from chiasm.results.series import in_order
from chiasm.results.wording import number
from chiasm.studies.flow import captions, charts, curves
from chiasm.studies.flow.browse import browsed
from chiasm.studies.flow.findings import flow_findings
from chiasm.studies.flow.head_charts import head_caption, head_maps
from chiasm.studies.flow.headline import flow_headline
from chiasm.studies.flow.judgement import beyond_scale_notes, control_label, layers_of, noise_floor
from chiasm.studies.flow.map_drawings import map_drawings
from chiasm.studies.flow.overview import OVERVIEW, routes_table
from chiasm.studies.flow.questions import CHARTS, DIFFERENCES, QUESTIONS, UNTESTED
from chiasm.studies.flow.spec import FlowSpec
from chiasm.studies.flow.sufficiency_drawings import sufficiency_drawings
from chiasm.studies.flow.sufficiency_findings import sufficiency_notes
from chiasm.studies.flow.sweep import of_controls, of_effects
from chiasm.studies.flow.tables import ERROR_SHARE, SIZE_MATCHED, SMALLEST, dose_share
from chiasm.studies.flow.value_path import ablation_notes
from chiasm.studies.flow.word_charts import word_drawings
from chiasm.studies.flow.word_claims import words_by_group
from chiasm.studies.flow.word_findings import word_notes

# Intervals from fewer draws than this are too narrow to be relied on.
_FEW = 10
_FIRST = "image->question"


@final
class FlowReporter(Reporter[FlowSpec]):
    """The reporter of `chiasm flow`. Curves of a sweep over all windows use the windows of one layer."""

    questions = QUESTIONS
    differences = DIFFERENCES
    untested = UNTESTED
    charts = CHARTS

    @property
    def title(self) -> str:
        return f"Information flow in {self.spec.model}"

    @property
    def methods(self) -> dict[str, list[str]]:
        """The cuts are those of others; what rides along in one walk is not."""
        return {"attention knockout": [cut for cut in in_order(self._effects, "cut") if "->" in cut]}

    def headline(self) -> str:
        return flow_headline(
            self.claimed, windows=self.spec.windows, width=self.spec.width_of(layers_of(self._effects))
        )

    def findings(self) -> list[Finding]:
        different = self._effects.select("start", "stop").n_unique()
        layers = layers_of(self._effects)
        return flow_findings(self.claimed, layers=layers, windows=self.spec.windows, different=different)

    def overview(self) -> dict[str, pl.DataFrame]:
        routes = routes_table(self.claimed)
        return {OVERVIEW: routes} if routes.height else {}

    def drawings(self) -> dict[str, Drawing]:
        effects, controls = _one_per_layer(self._effects), self._controls
        floor = noise_floor(self.table("noise"), self.table("rounding"))
        caption = partial(captions.flow, effects, controls, floor)
        of_cuts = of_kind(self.claimed, "effect")
        drawn = {
            "flow": Drawing(
                partial(curves.flow_chart, effects, controls, noise=floor, claims=of_cuts),
                partial(caption, claimed=bool(of_cuts)),
            )
        }
        if effects["type"].n_unique() > 1:
            drawn["flow-by-type"] = Drawing(
                partial(curves.types_chart, effects, controls, noise=floor),
                partial(caption, panels="type"),
            )
        if controls is not None:
            drawn["flow-controls"] = Drawing(
                partial(curves.controls_chart, effects, controls, noise=floor, claims=of_cuts),
                partial(caption, panels="cut", claimed=bool(of_cuts)),
            )
            dosed = [cut for cut, name in self._beside() if dose_share(name) is not None]
            something = {one.about for one in of_cuts if one.found}
            cuts = [cut for cut in dict.fromkeys(dosed) if not of_cuts or cut in something]
            if cuts:
                drawn["dose"] = Drawing(
                    lambda size, cuts=tuple(cuts): charts.dose_curve(effects, controls, size, cuts=cuts),
                    partial(captions.dose, effects, controls, cuts),
                )
        if of_kind(self.claimed, "head"):
            drawn["heads"] = Drawing(partial(head_maps, self.claimed), partial(head_caption, self.claimed))
        found = sufficiency_drawings(self.with_inputs("sufficiency"), self.table("sufficient_routes"))
        frames = self.directory.frames
        words, beside = (words_by_group(frames, name) for name in ("answer_words", "answer_words_controls"))
        found |= word_drawings(words, beside, self.claimed, floor)
        return drawn | self._windows() | found | self._tracking() | self._maps()

    def examples(self) -> Browsed | None:
        known = self.table("examples")
        if known is None:
            return None
        maps = {"values": self.table("patch_values"), "patches": self.table("patches")}
        followed = self.table("followed")
        least = max((one.effect for one in of_kind(self.claimed, "smallest")), default=SMALLEST)
        found = of_kind(self.claimed, "effect")
        # The headline begins with how the image reaches the question, where that is established.
        first = [one for one in found if one.about == _FIRST and one.established]
        against = {"found": strongest(first or found), "least": least}
        return browsed(_one_per_layer(self._effects), known, kept=self.spec.keep, followed=followed, **maps, **against)

    def notes(self) -> list[str]:
        found = [
            "A cut closes one route while others stay open, and a model can make up for what it lost (self-repair): "
            "no effect does not show that a route is unused. Attention that is taken away goes elsewhere, which "
            "the model never meets: an effect can also be larger than what the route carries. The blank image and "
            "averaged keys show how much of it that may be.",
            "Where a sentence names the layer at which a cut does most, that layer was picked on these examples: the "
            "mean given for it is on the large side. Its interval and p-value hold for all cuts and layers at once, so "
            "they allow for the picking. An effect's p is against 0, as its interval is; the paired difference to the "
            "nearest control has its own (claims `beyond`), and an effect is established only where both hold.",
        ]
        found += self._least_error()
        if self.spec.keep == "correct" and self.spec.task != "caption":
            found.append("Only questions that the model answers correctly were followed; --keep all takes the others.")
        found += self._open_suffix() + self._missing_controls()
        if self.spec.target == "first":
            found.append(
                "The first token of the model's own greedy answer was followed; --target answer follows every token "
                "of the labelled answer."
            )
        found += ablation_notes([one.text for one in self.spec.interventions()]) + sufficiency_notes(self.claimed)
        found += word_notes(self.claimed)
        found += (
            beyond_scale_notes(self.claimed)
            + self._wide_windows()
            + self._shared_inputs()
            + self._guard()
            + self._times()
        )
        if self.spec.windows == "all":
            found.append("Curves show the windows of one layer, the maps all windows; findings rest on all of them.")
        skipped = self.directory.skipped()
        if skipped:
            reasons = Counter(item["reason"] for item in skipped).most_common(5)
            often = "; ".join(f"{n} x {reason}" for reason, n in reasons)
            found.append(f"Parts that some examples do not have were left out of them: {often}.")
        return found

    @property
    def present(self) -> set[str]:
        return super().present | set(in_order(self._effects, "cut"))

    @cached_property
    def _effects(self) -> pl.DataFrame:
        return of_effects(self.directory.frames)

    @cached_property
    def _controls(self) -> pl.DataFrame | None:
        controls = of_controls(self.directory.frames)
        return None if controls is None else _one_per_layer(controls)

    def _windows(self) -> dict[str, Drawing]:
        if self.spec.windows != "all":
            return {}
        return {
            "windows": Drawing(
                partial(charts.window_maps, self._effects),
                partial(captions.windows, self._effects),
            )
        }

    def _tracking(self) -> dict[str, Drawing]:
        drawn = {}
        answers, baseline, words = self.with_inputs("answers"), self.with_inputs("answers_twin"), self.table("words")
        if answers is not None:
            drawable = _pooled_options(answers)
            control = None if baseline is None else _pooled_options(baseline)
            for name, raw in (("answers", False), ("answers-as-released", True)):
                drawn[name] = Drawing(
                    partial(charts.answer_tracking, drawable, control, as_released=raw),
                    partial(captions.tracking, drawable, baseline is not None, raw),
                    reported=not raw,
                )
        if words is not None:
            drawn["words"] = Drawing(partial(charts.caption_words, words), partial(captions.words, words))
        return drawn

    def _maps(self) -> dict[str, Drawing]:
        patches = self.table("patches")
        if patches is None:
            return {}
        return map_drawings(images.kept(self.directory), patches, self.table("patch_values"), self.table("examples"))

    def _wide_windows(self) -> list[str]:
        layers = layers_of(self._effects)
        width = self.spec.width_of(layers)
        if self.spec.windows != "centred" or 2 * width <= layers:
            return []
        distinct = self._effects.select("start", "stop").n_unique()
        return [
            f"Windows of {width} layers are wide for a model of {layers}: its centres have {distinct} "
            f"different windows that overlap in most layers, so curves cannot distinguish layers. --window "
            f"{max(1, layers // 2)} or less does."
        ]

    def _shared_inputs(self) -> list[str]:
        examples = self.table("examples")
        inputs = 0 if examples is None else examples["input"].n_unique()
        if examples is None or inputs == examples.height:
            return []
        few = " So few inputs give intervals that are too narrow." if inputs < _FEW else ""
        return [
            f"{examples.height} questions ask about {inputs} different inputs: intervals and tests draw whole inputs, "
            f"since questions on one image are no independent examples.{few}"
        ]

    def _least_error(self) -> list[str]:
        found = []
        for one in of_kind(self.claimed, "smallest"):
            least, share = (number(x * one.effect, unit=one.unit, significant=2) for x in (1, ERROR_SHARE))
            found.append(
                f"A standard error below {share} counts as {share} (a fifth of the smallest effect worth naming, "
                f"{least}): where nearly all examples agree, the few that do not are seen too rarely for their spread "
                "to be known. Intervals of little effects are therefore equally wide."
            )
        if self._controls is not None and RANDOM_WEIGHTS in set(self._controls["control"]):
            found.append(
                "A model with random weights gives the answer little probability to lose: that a cut changes nothing "
                "there says less than that another control changes nothing."
            )
        return found

    def _guard(self) -> list[str]:
        guard = self.directory.manifest.get("guard")
        if not guard or not guard.get("allowed"):
            return []
        return [
            "Cuts were computed in one walk down the layers; where they were compared with plain masked forwards, "
            f"log-probabilities differed by at most {guard['largest']:.2g} nat (allowed {guard['allowed']:.2g})."
        ]

    def _times(self) -> list[str]:
        seconds, parts = self.directory.manifest.get("seconds"), self.directory.manifest.get("parts")
        if not seconds or not parts:
            return []
        taken = {"decoding answers": seconds["generate"]} | parts
        rest = seconds["compute"] - sum(parts.values())
        each = "; ".join(
            f"{name} {value:.3g} s" for name, value in [*taken.items(), ("the rest", rest)] if value >= 0.001
        )
        return [f"Time of the last session: {each}."]

    def _open_suffix(self) -> list[str]:
        targets = [one.text.partition("->")[2] for one in self.spec.interventions() if "->" in one.text]
        if not targets or any("suffix" in target for target in targets):
            return []
        return [
            "The tokens between the question and the last position (the instruction, the end of the user's turn) were "
            "never cut: what they read reaches the answer all the same. To close that route as well, cut for example "
            '--cut "image->question+suffix" and --cut "question->suffix+last".'
        ]

    def _beside(self) -> dict[tuple[str, str], int]:
        """In how many examples each control stands beside each cut."""
        if self._controls is None:
            return {}
        counted = self._controls.group_by("cut", "control", maintain_order=True).agg(pl.col("example_id").n_unique())
        return {(cut, control): n for cut, control, n in counted.iter_rows()}

    def _missing_controls(self) -> list[str]:
        there = self._beside()
        baseline = any(control == RANDOM_WEIGHTS for _, control in there)
        unknown = "whether cutting anything else would do the same"
        lacking = control_notes(self.spec.controls, baseline, unknown)
        if not self.spec.controls:
            return lacking
        alike: dict[str, list[str]] = {}
        for cut in in_order(self._effects, "cut"):
            n = self._effects.filter(pl.col("cut") == cut)["example_id"].n_unique()
            matched = there.get((cut, SIZE_MATCHED), 0)
            if matched == n:
                continue
            others = [
                f"{control_label(name, cut)} (n = {count})"
                for (of, name), count in there.items()
                if of == cut and name not in (SIZE_MATCHED, RANDOM_WEIGHTS)
            ]
            instead = f"beside it stand {', '.join(others)}" if others else "nothing of the kind stands beside it"
            fewer = "fewer other keys are visible to the target rows than the cut takes"
            if cut.startswith(ABLATE):
                fewer = "the prompt has fewer other positions than the span"
            text = f"no size-matched control in {n - matched} of {n} examples, since {fewer}; {instead}."
            alike.setdefault(text, []).append(cut)
        found = [f"{', '.join(cuts)}: {text}" for text, cuts in alike.items()]
        return found + lacking


def _one_per_layer(rows: pl.DataFrame) -> pl.DataFrame:
    """All rows, or of a sweep over all windows those of one layer."""
    extents = rows.group_by("layer").agg(pl.struct("start", "stop").n_unique().alias("n"))["n"]
    return rows if (extents == 1).all() else rows.filter(pl.col("stop") - pl.col("start") == 1)


def _pooled_options(answers: pl.DataFrame) -> pl.DataFrame:
    """Options other than the answer as one form, lower-case and capitalised; the answer's own are `lower`, `capital`.

    A line for every word would be a line for every example.
    """
    of_answer = pl.col("form").is_in(["lower", "capital"])
    answer = answers.filter(of_answer).select("example_id", "token_id").unique()
    others = answers.filter(~of_answer).join(answer, on=["example_id", "token_id"], how="anti", maintain_order="left")
    lower = pl.col("form") == pl.col("form").str.to_lowercase()
    pooled = pl.when(lower).then(pl.lit("other option")).otherwise(pl.lit("other option, capitalised"))
    return pl.concat([answers.filter(of_answer), others.with_columns(form=pooled)])
