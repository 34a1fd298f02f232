"""Verified plans timed, judged, and written as files."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from chiasm.models.encoding.encoded import Encoded
from chiasm.models.skipping.operations import prefill_operations
from chiasm.models.skipping.plans import PLAN_FILE
from chiasm.models.skipping.timing import Ratio, costs
from chiasm.models.view import ModelView
from chiasm.results.rundir import RunDirectory
from chiasm.results.storage import whole_file
from chiasm.runners import local
from chiasm.studies.skip.search import Candidate, in_words
from chiasm.studies.skip.spec import SkipSpec
from chiasm.studies.skip.summary import pareto, recommended
from chiasm.studies.skip.tables import NONE, RANDOM_LAYERS


def write_plans(
    spec: SkipSpec,
    view: ModelView,
    prompt: Encoded,
    candidates: Sequence[Candidate],
    verified: Mapping[str, dict[str, Any]],
    directory: RunDirectory,
) -> list[dict[str, Any]]:
    """Time the `verified` plans on `prompt`, write the table `plans`, every plan that is no control, and plan.json."""
    inputs = prompt.inputs
    together, _ = view.collate([prompt] * spec.unit)
    found = [one for one in candidates if one.plan.name in verified]
    plain = prefill_operations(view, inputs).total
    with view.readable_attention(), local.progress() as bar:
        task = bar.add_task("time", total=len(found) + spec.repeats)
        timed = costs(view, inputs, together, [plan for plan, _ in found], spec.repeats, lambda: bar.advance(task))
    rows = []
    for (plan, _), cost in zip(found, timed, strict=True):
        share = prefill_operations(view, inputs, plan).total / plain
        rows.append(
            verified[plan.name]
            | {
                "skipped": in_words(plan),
                "operations_share": share,
                "prefill_seconds": cost.prefill_seconds,
                "prefill_spread": cost.prefill_spread,
                **_told("prefill_share", cost.prefill),
                **_told("batch_share", cost.batch),
                "decode_seconds": cost.decode_seconds,
                "peak_bytes": cost.peak_bytes,
            }
        )
    chosen = recommended(rows, spec.max_loss)
    front = pareto(rows)
    for row in rows:
        row["recommended"], row["pareto"] = row["plan"] == chosen, row["plan"] in front
    directory.write_table("plans", rows)
    (directory.path / "plans").mkdir(exist_ok=True)
    for (plan, kind), row in zip(found, rows, strict=True):
        if kind == RANDOM_LAYERS:
            continue
        told = replace(plan, measured={k: v for k, v in row.items() if v is not None and k not in ("plan", "kind")})
        names = [f"plans/{plan.name}.json", *([PLAN_FILE] if plan.name == chosen else [])]
        for name in names:
            with whole_file(directory.path / name) as file:
                file.write(told.to_json().encode())
    assert chosen == NONE or (directory.path / PLAN_FILE).exists()
    return rows


def _told(name: str, ratio: Ratio) -> dict[str, float]:
    return {name: ratio.median, f"{name}_low": ratio.low, f"{name}_high": ratio.high}
