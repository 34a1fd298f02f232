"""What became of the examples that gave no rows, or not all of them, and why."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from chiasm.results.provenance import without_machine_paths
from chiasm.results.schemas import FAILURES
from chiasm.results.tables import conform

Reasons = Iterable[tuple[str, str]]  # (example_id, reason)
OUTCOMES = {"failures": "failed", "left_out": "left out", "skipped": "skipped"}
"""The value of the column `outcome`, by what jobs call them."""
SAMPLE = 20
"""Examples and reasons that the manifest holds of each kind; the table `failures` has all."""


def noted(reasons: Reasons) -> list[dict[str, str]]:
    """Examples and reasons as the manifest holds them."""
    return [{"example_id": example, "reason": without_machine_paths(reason)} for example, reason in reasons]


def reasons_of_job(given: Mapping[str, Reasons]) -> tuple[dict[str, int], pl.DataFrame | None]:
    """How many of each kind, and the rows of `FAILURES`, where there are any."""
    found = {kind: noted(given[kind]) for kind in OUTCOMES}
    rows = [one | {"outcome": OUTCOMES[kind]} for kind, reasons in found.items() for one in reasons]
    return {kind: len(reasons) for kind, reasons in found.items()}, conform(FAILURES, rows) if rows else None


def counted(manifest: Mapping[str, Any], jobs: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Examples `asked`, `kept`, `left_out` and `failed` in all `jobs`."""
    jobs = list(jobs)
    counts = {"kept": sum(job["kept"] for job in jobs)}
    counts["left_out"] = sum(job["left_out"] for job in jobs) + len(manifest.get("unused", ()))
    counts["failed"] = sum(job["failures"] for job in jobs)
    return {"asked": manifest.get("asked") or sum(counts.values()), **counts}


def distinct_examples(frames: Iterable[pl.DataFrame]) -> int:
    """How many examples have rows."""
    return len({example for f in frames if "example_id" in f.columns for example in f["example_id"].unique()})


def parts_missing(skipped: Sequence[Mapping[str, str]], most: int = 2) -> str:
    """A sentence about parts that examples do not have, with the most frequent reasons; empty where there are none."""
    if not skipped:
        return ""
    often = Counter(one["reason"] for one in skipped).most_common()
    reasons = "; ".join(f"{n} x {reason}" for reason, n in often[:most])
    more = f"; and {len(often) - most} more reasons in the table `failures`" if len(often) > most else ""
    return f"Parts that some examples do not have were left out of them: {reasons}{more}."


def failed_in(model: str, *failures: Iterable[Mapping[str, str]]) -> list[tuple[str, str]]:
    """Examples that failed in any run of one model, each once, named so that several models can be told apart."""
    found = {one["example_id"]: one["reason"] for run in failures for one in run}
    return [(f"{model}/{example}", reason) for example, reason in found.items()]
