"""All plans in one table for the page, from the table `plans` and the claims."""

import polars as pl

from chiasm.core.claims import Claim, of_kind
from chiasm.results.wording import compact, number
from chiasm.studies.skip.decision import BATCH, ONE_PROMPT
from chiasm.studies.skip.tables import NONE
from chiasm.studies.skip.time_findings import TOO_NOISY, time_verdict

_MISSING = "-"


def plans_table(plans: pl.DataFrame, claims: list[Claim]) -> pl.DataFrame:
    """A line for every plan, the fewest operations first: losses and times with the intervals of the claims.

    Losses of controls, which no claim is about, have the interval of the table; what was not compared has a dash.
    """
    rows = []
    for row in plans.sort("operations_share", maintain_order=True).iter_rows(named=True):
        name = row["plan"]
        loss = next(iter(of_kind(claims, "loss", name)), None)
        bounds = (loss.low, loss.high) if loss else (_percent(row["loss_low"]), _percent(row["loss_high"]))
        lost = _MISSING if name == NONE else compact(100 * row["loss"], *bounds, digits=1)
        logprob = next(iter(of_kind(claims, "logprob", name)), None)
        times = {one.where: one for one in of_kind(claims, "time", name)}
        rows.append(
            {
                "plan": name,
                "left out": row["skipped"],
                "operations (%)": number(100 * row["operations_share"]),
                "right (%)": number(100 * row["score"]),
                "right answers lost (points)": lost,
                "log-probability lost (nat)": _cell(logprob, 3),
                "change of time, one prompt (%)": _time(times.get(ONE_PROMPT)),
                "change of time, a batch (%)": _time(times.get(BATCH)),
                "recommended": "yes" if row["recommended"] else "",
            }
        )
    return pl.DataFrame(rows)


def _cell(one: Claim | None, digits: int) -> str:
    return _MISSING if one is None else compact(one.effect, one.low, one.high, digits=digits)


def _time(one: Claim | None) -> str:
    if one is None:
        return _MISSING
    said = time_verdict(one)
    return said if said == TOO_NOISY else f"{_cell(one, 0)}: {said}"


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
