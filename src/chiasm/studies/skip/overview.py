"""All plans in one table for the page, from the table `plans` and the claims."""

from typing import Any

import polars as pl

from chiasm.core.claims import Claim, of_kind
from chiasm.results.wording import compact, number
from chiasm.studies.skip.decision import BATCH, EQUAL_CALLS, ONE_PROMPT
from chiasm.studies.skip.tables import CONTROLS, NONE
from chiasm.studies.skip.time_findings import NOT_ESTABLISHED, time_reason, time_verdict

_MISSING = "-"


def plans_table(plans: pl.DataFrame, claims: list[Claim]) -> pl.DataFrame:
    """A line for every plan, the fewest operations first, controls last: losses and times with the claims' intervals.

    What no claim is about (controls, plans that leave out no operations) has what the table holds: losses with its
    interval, times without one.
    """
    whole = _peak(plans)
    rows = []
    control = pl.col("kind").is_in(CONTROLS)
    for row in plans.sort(control, "operations_share", maintain_order=True).iter_rows(named=True):
        name = row["plan"]
        loss = next(iter(of_kind(claims, "loss", name)), None)
        bounds = (loss.low, loss.high) if loss else (_percent(row["loss_low"]), _percent(row["loss_high"]))
        lost = _MISSING if name == NONE else compact(100 * row["loss"], *bounds, digits=1)
        logprob = next(iter(of_kind(claims, "logprob", name)), None)
        times = {one.where: one for one in of_kind(claims, "time", name)}
        rows.append(
            {
                "plan": _named(row),
                "operations (%)": number(100 * row["operations_share"]),
                "right (%)": number(100 * row["score"]),
                "right answers lost (points)": lost,
                "log-probability lost (nat)": _MISSING if name == NONE else _logprob(logprob, row),
                "change of time, one prompt (%)": _time(times.get(ONE_PROMPT), row, "prefill_share"),
                "change of time, a batch (%)": _time(times.get(BATCH), row, "batch_share"),
                "peak memory (%)": _MISSING if not whole else number(100 * row["peak_bytes"] / whole, digits=0),
                "left out": row["skipped"],
            }
        )
    return pl.DataFrame(rows)


def _peak(plans: pl.DataFrame) -> int | None:
    """The plain model's peak memory, where it was measured."""
    known = plans.filter(plan=NONE)["peak_bytes"].to_list() if "peak_bytes" in plans.columns else []
    return known[0] if known else None


def _named(row: dict[str, Any]) -> str:
    if row["plan"] == NONE:
        return "plain model (nothing left out)"
    how = "recommended" if row["recommended"] else "control" if row["kind"] in CONTROLS else ""
    return f"{row['plan']} ({how})" if how else row["plan"]


def _cell(one: Claim, digits: int) -> str:
    return compact(one.effect, one.low, one.high, digits=digits)


def _logprob(one: Claim | None, row: dict[str, Any]) -> str:
    if one is not None:
        return _cell(one, 3)
    lost = row.get("logprob_loss")
    return _MISSING if lost is None else compact(lost, row["logprob_loss_low"], row["logprob_loss_high"], digits=3)


def _time(one: Claim | None, row: dict[str, Any], column: str) -> str:
    """A change of time with what it allows to say; of what is not compared the mean alone."""
    if one is None:
        if row.get(column) is None:
            return _MISSING
        mean = number(100 * (row[column] - 1), digits=0)
        return f"{mean} ({EQUAL_CALLS if row['plan'] == NONE else 'no interval'})"
    said = time_verdict(one)
    return f"{_cell(one, 0)}: {time_reason(one) if said == NOT_ESTABLISHED else said}"


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
