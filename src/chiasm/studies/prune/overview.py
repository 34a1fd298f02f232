"""What each level of pruning costs and saves in one table for the page, from the claims."""

from collections.abc import Sequence

import polars as pl

from chiasm.core.claims import Claim, of_kind
from chiasm.results.wording import compact, number


def overview(claims: Sequence[Claim]) -> pl.DataFrame:
    """A line for every level: right answers lost, weights, file, and time: zeros in a dense matrix save none of it."""
    chosen = [one.where for one in of_kind(claims, "recommended") if one.established]
    rows = []
    for loss in of_kind(claims, "loss"):
        weights, stored = (_at(claims, kind, loss.where) for kind in ("saved-weights", "saved-bytes"))
        rows.append(
            {
                "weights zeroed": f"{loss.where} (recommended)" if loss.where in chosen else loss.where,
                "right answers lost (points)": compact(loss.effect, loss.low, loss.high, digits=1),
                "of all the model's weights (%)": _share(weights),
                "file as saved": "as large as before",
                "file where zeros are not stored (% less)": _share(stored),
                "time": "as before",
            }
        )
    return pl.DataFrame(rows)


def _at(claims: Sequence[Claim], kind: str, where: str) -> Claim | None:
    return next((one for one in of_kind(claims, kind) if one.where == where), None)


def _share(one: Claim | None) -> str:
    return (
        "unknown" if one is None or not one.control_effect else number(100 * one.effect / one.control_effect, digits=0)
    )
