"""From what came out of the two runs of a pair to rows of tables."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from chiasm.core.example import Example
from chiasm.measures.base import RowsByTable
from chiasm.models.executors.jobs import JobResult
from chiasm.studies.patch.plan import PairPlan
from chiasm.studies.patch.tables import DENOISE, NOISE_FACTOR, TOKENS


class PairResult(NamedTuple):
    """What came out of both runs, scored for the own answer (first) and the donor's. `least`: the smallest gap (nat) of
    which a share is taken."""

    example: Example
    donor_id: str
    how: str
    tokens: tuple[int, int]
    own: JobResult
    donor: JobResult
    least: float

    @property
    def gap(self) -> float:
        """Log-probability of the own token in the own run, less in the donor's."""
        return float(self.own.clean[0] - self.donor.clean[0])

    @property
    def gap_odds(self) -> float:
        """The same of the log-odds of the own token against the donor's."""
        return _odds(self.own.clean) - _odds(self.donor.clean)

    @property
    def columns(self) -> dict[str, Any]:
        """What all rows of the pair have."""
        return {"example_id": self.example.id, "donor_id": self.donor_id, "type": self.example.type}

    def row(self, text: tuple[str, str]) -> dict[str, Any]:
        """The row of the table `pairs`; `text`: of the two tokens."""
        named = dict(zip(("token_id", "donor_token_id", "answer", "donor_answer"), (*self.tokens, *text), strict=True))
        gaps = {"gap": self.gap, "gap_odds": self.gap_odds, "gap_least": self.least}
        return self.columns | {"how": self.how} | named | gaps


def _odds(scored: Any) -> float:
    return float(scored[0] - scored[1])


def least_gap(plan: PairPlan, own: JobResult, donor: JobResult, smallest: float) -> float:
    """The smallest gap of which a share is taken: what was asked, and well beyond what no-ops change, where there are
    any (half precision)."""
    moved = [0.0]
    for side, result in ((plan.own, own), (plan.donor, donor)):
        for v, one in enumerate(side.planned):
            if not one.table:
                moved.append(float((result.logprobs[v] - result.clean).abs().max()))
    return max(smallest, NOISE_FACTOR * max(moved))


def recovery(clean: float, donor: float, patched: float, direction: str, least: float) -> float | None:
    """The share of the gap that comes back (denoise) or is lost (noise); None where the gap is below `least`."""
    gap = clean - donor
    if gap < least:
        return None
    return (patched - donor if direction == DENOISE else clean - patched) / gap


def pair_rows(rows: RowsByTable, plan: PairPlan, found: PairResult) -> None:
    """Append the rows of every table that the variants of a pair have; those of exact patches that check the gradient
    as `sampled`."""
    for side, result in ((plan.own, found.own), (plan.donor, found.donor)):
        for v, one in enumerate(side.planned):
            window = {"layer": one.window.centre, "start": one.window.start, "stop": one.window.stop}
            patched = result.logprobs[v]
            if one.table == "knockouts":
                about = {"example_id": found.example.id, "type": found.example.type, "target_token_id": found.tokens[0]}
                scored = {"logprob_clean": float(found.own.clean[0]), "logprob_cut": float(patched[0])}
                rows["knockouts"].append(about | window | one.columns | scored)
            elif one.table == "sampled":
                share = dict(_scored(found, patched, one.columns))["recovery"]
                rows["sampled"].append(one.columns | window | {"exact": share})
            elif one.table:
                row = found.columns | window | one.columns | dict(_scored(found, patched, one.columns))
                kept = TOKENS.names if one.table == TOKENS.name else tuple(row)
                rows[one.table].append({name: row[name] for name in kept})


def _scored(found: PairResult, patched: Any, columns: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    direction = columns["direction"]
    clean, donor = float(found.own.clean[0]), float(found.donor.clean[0])
    yield "target_token_id", found.tokens[0]
    yield "logprob_clean", clean
    yield "logprob_donor", donor
    yield "logprob_patched", float(patched[0])
    yield "recovery", recovery(clean, donor, float(patched[0]), direction, found.least)
    odds = [_odds(one) for one in (found.own.clean, found.donor.clean, patched)]
    yield "donor_token_id", found.tokens[1]
    yield from zip(("odds_clean", "odds_donor", "odds_patched"), odds, strict=True)
    yield "recovery_odds", recovery(odds[0], odds[1], odds[2], direction, found.least)
