"""Right answers by type in one table for the page, from the claims."""

from collections.abc import Sequence

import polars as pl

from chiasm.core.claims import Claim, of_kind
from chiasm.results.wording import compact, number
from chiasm.studies.eval.claims import ALL


def overview(claims: Sequence[Claim]) -> pl.DataFrame:
    """A line for every type, the fewest right answers first, then all together."""
    types = sorted(of_kind(claims, "type-right"), key=lambda one: one.effect)
    rows = [_row(one, claims, "type-unseen", "type-gain") for one in types]
    rows += [_row(one, claims, "unseen", "gain") for one in of_kind(claims, "right", ALL)]
    return pl.DataFrame(rows)


def _row(right: Claim, claims: Sequence[Claim], unseen: str, gain: str) -> dict[str, str]:
    row = {
        "type": right.about,
        "n": str(right.n),
        "right (%)": compact(right.effect, right.low, right.high, digits=1),
        f"{right.control} (%)": number(right.control_effect or 0.0),
    }
    for one in of_kind(claims, unseen, right.about):
        row["image blanked (%)"] = compact(one.effect, one.low, one.high, digits=1)
    for one in of_kind(claims, gain, right.about):
        row["more than the most frequent answer"] = one.verdict
    return row
