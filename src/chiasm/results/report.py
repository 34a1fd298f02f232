"""What a study says of its run: headline, findings, numbers, figures, examples, limits. The page is made from these."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Generic, TypeVar, final

import polars as pl
from rich.console import RenderableType

from chiasm.core.claims import Claim
from chiasm.core.errors import ChiasmError
from chiasm.core.options import Options
from chiasm.results.agreement import Agreement, agreements
from chiasm.results.claims import read_claims
from chiasm.results.examples import Browsed
from chiasm.results.findings import Finding
from chiasm.results.ledger import Entry, ledger
from chiasm.results.numbers import NumberTable, number_tables
from chiasm.results.rundir import RunDirectory
from chiasm.results.schemas import CLAIMS
from chiasm.results.series import with_inputs
from chiasm.results.tables import conform

S = TypeVar("S", bound=Options)
_MAIN = 3
WRONG = "answered wrongly"


@dataclass(frozen=True, slots=True)
class Drawing:
    """A chart that can be drawn, and its caption. `draw` takes the size; `reported`: it stands in the report."""

    draw: Callable[..., Any]
    caption: Callable[[], str]
    reported: bool = True


def kind_of_chart(name: str, questions: Mapping[str, str]) -> str:
    """The entry of `questions` that a chart is, or is one of several of (`map-0`, `transfer-50`); empty for none."""
    return next((one for one in questions if name == one or (one.endswith("-") and name.startswith(one))), "")


def control_notes(controls: bool, baseline: bool, unknown: str) -> list[str]:
    """What a run lacks: `controls`, or a `baseline` with random weights. `unknown`: what controls would have shown."""
    if not controls:
        return [f"No control was run: {unknown} is not known."]
    if not baseline:
        return ["No model with random weights stands beside this one; --baseline names one of the same shape."]
    return []


def shared_models_note(controls: pl.DataFrame | None) -> list[str]:
    """How many models with random weights share the examples of a table of controls, and what intervals allow for."""
    if controls is None or not controls.height:
        return []
    models = controls["sample"].n_unique() if "sample" in controls.columns else 1
    if models == 1:
        return ["One model with random weights stands for all: how far others differ from it is not known here."]
    return [
        f"{models} models with random weights share the examples: the interval of a difference from them holds "
        "over inputs and over one more such model."
    ]


class Reporter(ABC, Generic[S]):
    """Findings, figures and notes of a run, from its tables and its spec alone; never needs torch.

    `questions`: the question that each kind of claim answers, in the order of the report's tables; one that asks for
    two ways (`more or less`) begins with that of effects above 0. `differences`: kinds whose effect is the difference
    from what their control shows, beside those whose names end in `-control` or `beyond`. `untested`: kinds that are
    counts, bounds or choices, of which nothing could be established. `charts`: the question that each figure answers,
    by the beginning of its name, in the order of the report; the first is the main one.
    """

    questions: ClassVar[Mapping[str, str]] = {}
    differences: ClassVar[frozenset[str]] = frozenset()
    untested: ClassVar[frozenset[str]] = frozenset()
    charts: ClassVar[Mapping[str, str]] = {}

    def __init__(self, directory: RunDirectory, spec: S) -> None:
        self.directory, self.spec = directory, spec

    @property
    @abstractmethod
    def title(self) -> str:
        """The headline of the report."""

    @abstractmethod
    def findings(self) -> list[Finding]:
        """What was found, strongest first."""

    @abstractmethod
    def drawings(self) -> dict[str, Drawing]:
        """The charts by name, in the order of the report."""

    @abstractmethod
    def notes(self) -> list[str]:
        """What this run cannot tell."""

    @property
    def facts(self) -> list[str]:
        """What stands under the title beside model and examples: how many examples did what, where not all did all."""
        return []

    def headline(self) -> str:
        """The answer in a sentence or two that need no manual; never more than what is established."""
        strongest = max(self.ranked, key=lambda finding: finding.strength, default=None)
        return "Nothing is established." if strongest is None else strongest.text

    def advice(self) -> list[str]:
        """What follows for whoever has to decide, a few sentences each below the headline; most studies have none."""
        return []

    def figure_questions(self) -> Mapping[str, str]:
        """`charts`, with that first which shows what the headline says first."""
        return self.charts

    def overview(self) -> dict[str, pl.DataFrame]:
        """Tables that stand before all others, by caption; most studies have none."""
        return {}

    def examples(self) -> Browsed | None:
        """Single examples to look at, or None where the run keeps nothing of them."""
        return None

    @cached_property
    def claims(self) -> pl.DataFrame:
        """The table `claims`: kept, or made from the other tables where a run has none."""
        kept = self.table(CLAIMS.name)
        if kept is not None:
            return kept
        derived = {} if self.directory.derive is None else self.directory.derive(self.directory)
        if CLAIMS.name not in derived:
            raise ChiasmError(f"the claims of `{self.directory.path}`", "its study makes none", "Read its tables")
        return conform(CLAIMS, derived[CLAIMS.name])

    @cached_property
    def claimed(self) -> list[Claim]:
        """The same as values."""
        return read_claims(self.claims)

    @cached_property
    def ranked(self) -> list[Finding]:
        """The findings, computed once."""
        return self.findings()

    @cached_property
    def numbers(self) -> list[NumberTable]:
        """What was found as tables, one for each question; none of a study that makes no claims."""
        if self.directory.derive is None and self.table(CLAIMS.name) is None:
            return []
        try:
            return number_tables(self.claimed, self.questions, self.differences, self.untested)
        except ChiasmError:
            if self.directory.complete:
                raise
            return []  # the tables that claims are made from are not there yet

    def table(self, name: str, columns: Sequence[str] | None = None) -> pl.DataFrame | None:
        """A table of the run, or those of `columns` that it has; None where the run has none of that name."""
        return self.directory.table(name, columns) if name in self.directory.tables() else None

    def with_inputs(self, name: str, columns: Sequence[str] | None = None) -> pl.DataFrame | None:
        """`table` with the input of every example, or None where the run has none of that name."""
        rows = self.table(name, columns)
        return None if rows is None else with_inputs(rows, self.table("examples", ("example_id", "input")))

    def layouts(self) -> dict[str, pl.DataFrame]:
        """Its tables once more in the layout of a paper, by caption; most studies have none."""
        return {}

    @property
    def present(self) -> set[str]:
        """What the run has that a published claim may be about: the names of its tables; studies add theirs."""
        return set(self.directory.tables())

    @property
    def methods(self) -> dict[str, list[str]]:
        """Methods of others that the run uses, by the names that `page.cite` knows, each with what is made by it here;
        most studies have none."""
        return {}

    @property
    def published(self) -> list[Entry]:
        """What was published about what this run touches."""
        return ledger().concerning(self.directory.manifest["study"], self.present)

    @property
    def agreements(self) -> list[list[Agreement]]:
        """Of each of `published` whether this run agrees with it, as far as the two can be compared."""
        made = self.directory.manifest
        model, data = (_named(made.get(key)) for key in ("model", "data"))
        claims = self.claimed if self.numbers else []
        return [agreements(entry, model, data, claims) for entry in self.published]

    def summary(self) -> list[RenderableType]:
        """What the command line prints when the run has ended: counts, failures, the main findings."""
        counts = self.directory.counts()
        lines: list[RenderableType] = []
        if not self.directory.complete:
            lines.append(
                "This run is not finished; what follows rests on what there is. The same command with --resume goes on."
            )
        reasons = Counter(reason_in_short(item["reason"]) for item in self.directory.left_out())
        without = "".join(f"{count} {reason}, " for reason, count in reasons.most_common())
        lines.append(f"{counts['kept']} of {counts['asked']} examples kept, {without}{counts['failed']} failed.")
        lines += [f"  failed: {one['example_id']}: {one['reason']}" for one in self.directory.failures()[:_MAIN]]
        lines += [f"{number}. {one.text}" for number, one in enumerate(self.ranked[:_MAIN], start=1)]
        return lines


@final
class NothingYet(Reporter[Options]):
    """Of a run that has no row: how many examples there were, and what became of them."""

    def __init__(self, directory: RunDirectory, spec: Options, title: str) -> None:
        super().__init__(directory, spec)
        self._title = title

    @property
    def title(self) -> str:
        return self._title

    def headline(self) -> str:
        counts = self.directory.counts()
        if not counts["failed"] and not counts["left_out"]:
            return "Nothing has been computed yet."
        return (
            f"Nothing can be said: of {counts['asked']} examples {counts['failed']} could not be used and "
            f"{counts['left_out']} were left out on purpose."
        )

    def findings(self) -> list[Finding]:
        return [Finding(self.headline(), 0.0)]

    def drawings(self) -> dict[str, Drawing]:
        return {}

    def notes(self) -> list[str]:
        return []

    @cached_property
    def numbers(self) -> list[NumberTable]:
        return []


def _named(made: Any) -> str:
    """What a run is of, by the names in its manifest, which several models or data sets have one of each."""
    if isinstance(made, Mapping):
        return str(made.get("id") or made.get("name") or ", ".join(made))
    return ", ".join(_named(one) for one in made) if isinstance(made, list) else str(made or "unknown")


def reason_in_short(reason: str) -> str:
    """Why examples were left out, without what differs between them."""
    return WRONG if reason.startswith("answered ") else f"left out ({reason})"
