"""What the report of an evaluation says, and the tables that the command line prints."""

from functools import cached_property, partial
from typing import Final, final

import polars as pl
from rich.console import RenderableType
from rich.table import Table

from chiasm.core.answer_metrics import ANSWER_METRICS
from chiasm.core.claims import of_kind
from chiasm.results.examples import Browsed
from chiasm.results.findings import Finding
from chiasm.results.report import Drawing, Reporter
from chiasm.results.series import in_order, with_inputs
from chiasm.results.wording import bounds, metric_format, number
from chiasm.studies.eval import charts
from chiasm.studies.eval.browse import browsed
from chiasm.studies.eval.claims import ALL
from chiasm.studies.eval.findings import eval_findings, metric_findings
from chiasm.studies.eval.headline import eval_headline
from chiasm.studies.eval.overview import overview
from chiasm.studies.eval.questions import CHARTS, DIFFERENCES, QUESTIONS
from chiasm.studies.eval.spec import EvalSpec

_OVERVIEW = (
    "How many answers are right, type by type? In brackets 95 % intervals; differences to the control, corrected over "
    "types, are in the tables below."
)


@final
class EvalReporter(Reporter[EvalSpec]):
    """The reporter of `chiasm eval`."""

    questions = QUESTIONS
    differences = DIFFERENCES
    charts = CHARTS

    @property
    def title(self) -> str:
        return f"Answers of {self.spec.model}"

    def headline(self) -> str:
        return eval_headline(self.claimed)

    def findings(self) -> list[Finding]:
        right, other = eval_findings(self.claimed), metric_findings(self.claimed)
        return [*right, *other] if self._measured[0] == "accuracy" else [*other, *right]

    def drawings(self) -> dict[str, Drawing]:
        drawings = {}
        if "accuracy" in self._measured:
            blind = self.table("blind")
            drawings["accuracy"] = Drawing(
                partial(charts.accuracy_chart, self._answers, blind),
                partial(charts.accuracy_caption, self._answers, blind is not None),
            )
        if self._metrics is not None and self._measured != ["accuracy"]:
            caption = partial(charts.measures_caption, self._metrics)
            # Exact match alone is accuracy once more.
            more = bool(set(self._measured) - {"accuracy", "exact_match"})
            for name, percent in (("measures", True), ("scales", False)):
                if charts.drawn(self._metrics, percent).height:
                    draw = partial(charts.measures_chart, self._metrics, percent=percent)
                    drawings[name] = Drawing(draw, caption, reported=more)
        return drawings

    def examples(self) -> Browsed | None:
        known = self.table("examples")
        scored = "accuracy" in self._measured
        return None if known is None else browsed(self._answers, known, self.table("blind"), scored=scored)

    def notes(self) -> list[str]:
        found = []
        if "accuracy" in self._measured:
            found.append("An answer is right when it equals the label; a synonym counts as wrong.")
        if "cider_d" in self._measured:
            found.append("CIDEr-D takes its weights from these references: it does not compare with other examples'.")
        if "chair_i" in self._measured:
            found.append("CHAIR sees objects of its list only, and a text that names less hallucinates less.")
        if not self.spec.blind:
            found.append("What the questions give away without the image was not measured; --blind does.")
        return found

    def overview(self) -> dict[str, pl.DataFrame]:
        return {_OVERVIEW: overview(self.claimed)} if of_kind(self.claimed, "right") else {}

    def summary(self) -> list[RenderableType]:
        tables: list[RenderableType] = []
        if self._metrics is not None:
            # Where something else fits the data better, accuracy stands among the measures only, with their intervals.
            first = self._measured[0] == "accuracy"
            tables += [self._right_answers(), ""] if first else []
            if not first or set(self._measured) - {"accuracy", "exact_match"}:
                tables += [self._measures(self._metrics), ""]
        return [*tables, *super().summary()]

    @cached_property
    def _metrics(self) -> pl.DataFrame | None:
        return self.table("metrics")

    @cached_property
    def _measured(self) -> list[str]:
        """The measures of the run, the main one first; runs of older versions and unfinished ones have none."""
        return ["accuracy"] if self._metrics is None else self._metrics["metric"].unique(maintain_order=True).to_list()

    @cached_property
    def _answers(self) -> pl.DataFrame:
        return with_inputs(self.directory.table("eval"), self.table("examples"))

    def _right_answers(self) -> Table:
        """Right answers by type in alphabetical order, then over all where there are several."""
        rows = [(one.about, one, "type-unseen") for one in of_kind(self.claimed, "type-right")]
        rows.sort(key=lambda row: row[0])
        single = ALL if rows else in_order(self._answers, "type")[0]
        rows += [(single, one, "unseen") for one in of_kind(self.claimed, "right")]
        blind = self.table("blind") is not None
        shown = _aligned("type", "n", "right", "95 % interval", "majority", *(["blind"] if blind else []))
        for name, one, kind in rows:
            cells = [name, str(one.n), number(one.effect, unit="%"), bounds(one.low, one.high, unit="%")]
            cells.append(number(one.control_effect or 0.0, unit="%"))
            cells += [number(unseen.effect, unit="%") for unseen in of_kind(self.claimed, kind, one.about)]
            shown.add_row(*cells)
        return shown

    def _measures(self, metrics: pl.DataFrame) -> Table:
        """All measures, by type."""
        rows = list(metrics.iter_rows(named=True))
        unseen = {(row["metric"], row["type"]): row["value"] for row in rows if row["shown"] == "blank"}
        shown = _aligned("measure", "type", "n", "value", "95 % interval", *(["blind"] if unseen else []))
        for row in (row for row in rows if row["shown"] == "image"):
            options = metric_format(ANSWER_METRICS[row["metric"]])
            value = "-" if row["value"] is None else number(row["value"], **options)
            other = unseen.get((row["metric"], row["type"]))
            cells = [row["metric"], row["type"], str(row["n"]), value, bounds(row["low"], row["high"], **options)]
            shown.add_row(*cells, *([] if other is None else [number(other, **options)]))
        return shown


_LABEL: Final = 32
"""Characters of a type that the terminal shows; the report has all of it."""


def _aligned(*heads: str) -> Table:
    """A table without lines: the first column to the left, numbers to the right."""
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    for place, head in enumerate(heads):
        # A label of any length leaves the numbers their room.
        most = _LABEL if head == "type" else None
        shown.add_column(head, justify="right" if place else "left", no_wrap=True, max_width=most)
    return shown
