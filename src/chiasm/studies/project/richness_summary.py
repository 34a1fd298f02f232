"""What the tables of the probes say: what is read where, and differences with paired intervals."""

from dataclasses import dataclass

import polars as pl

from chiasm.core.statistics.intervals import Estimate
from chiasm.studies.project.scores import Runs, difference, macro_f1, runs_of
from chiasm.studies.project.tables import OWN

LINE, MLP = "linear", "mlp-paper"
CLS, PRE, POST = "cls", "pre", "post"


@dataclass(frozen=True, slots=True)
class Place:
    """What a probe has read: a setting's states at a place, or a control of them."""

    setting: str
    where: str
    probe: str = LINE
    control: str | None = None


@dataclass(frozen=True, eq=False)
class Probed:
    """The answers of the probes on one domain."""

    rows: pl.DataFrame

    @classmethod
    def of(cls, probed: pl.DataFrame, domain: str) -> "Probed":
        """Those of the model's own projector."""
        return cls(probed.filter(domain=domain, projector=OWN))

    def runs(self, place: Place) -> Runs | None:
        """Labels and answers by seed; None where this was not probed."""
        own = self.rows.filter(setting=place.setting, where=place.where, probe=place.probe)
        controlled = pl.col("control").is_null() if place.control is None else pl.col("control") == place.control
        return runs_of(own.filter(controlled), "answer")

    def score(self, place: Place) -> Estimate | None:
        """Macro-F1 over seeds, with a bootstrap over pictures."""
        runs = self.runs(place)
        return None if runs is None else macro_f1(*runs)

    def gap(self, one: Place, other: Place) -> Estimate | None:
        """Macro-F1 at one place less that at the other, paired by picture; None where either was not probed."""
        first, second = self.runs(one), self.runs(other)
        return None if first is None or second is None else difference(first, second)

    @property
    def probes(self) -> list[str]:
        """The probes that were trained."""
        return self.rows["probe"].unique(maintain_order=True).to_list()

    @property
    def states(self) -> list[int]:
        """The hidden states that were probed."""
        found = self.rows["where"].unique().str.extract(r"^layer\.(\d+)\.", 1).drop_nulls()
        return sorted({int(state) for state in found})


def surely(gap: Estimate | None) -> int:
    """1 or -1 where the interval lies on one side of 0, else 0."""
    return 0 if gap is None else int(gap.low > 0) - int(gap.high < 0)


def told(gap: Estimate) -> str:
    """A difference with its interval."""
    return f"{gap.mean:+.3f}, {gap.low:+.3f} to {gap.high:+.3f}"


def counted(count: int, word: str) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
