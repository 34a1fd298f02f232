"""From outcomes to rows."""

import math
from typing import Any

from chiasm.core.example import Example
from chiasm.core.spans import PERCEPTUAL
from chiasm.models.executors.jobs import JobResult
from chiasm.studies.flow.plan import Plan

Rows = dict[str, list[dict[str, Any]]]


def planned_rows(rows: Rows, example: Example, plan: Plan, outcome: JobResult) -> None:
    """Append what every variant of `plan` gave to the tables that its rows belong to.

    The log-probability of several tokens is the mean over them, so their probability is the geometric mean (as in
    FG-TRACER, WACV 2026, for long answers). In half precision the untouched value is that of the no-op of the same
    window, since the shape of a batch alone moves log-probabilities.
    """
    clean_top = outcome.top[0].tolist()
    tokens = outcome.tokens.tolist()
    clean, cut, top = outcome.clean.tolist(), outcome.logprobs.tolist(), outcome.top.tolist()
    for index, item in enumerate(plan.planned):
        window = item.window
        noop = plan.noops.get((window.start, window.stop)) if plan.paired or item.table == "noise" else None
        before = clean if noop is None else cut[noop]
        measured = _change(_mean(before), _mean(cut[index]))
        shared = {"example_id": example.id, "type": example.type}
        placed = shared | {"layer": window.centre, "start": window.start, "stop": window.stop}
        match item.table:
            case "effects" | "controls":
                rows[item.table].append(
                    placed
                    | item.columns
                    | {"target_token_id": tokens[0]}
                    | measured
                    | {
                        "prob_clean": math.exp(measured["logprob_clean"]),
                        "prob_cut": math.exp(measured["logprob_cut"]),
                        "top_token_id": top[index][0],
                        "flipped": top[index] != clean_top,
                    }
                )
                if item.table == "effects" and len(tokens) > 1:
                    rows["tokens"] += [
                        placed
                        | item.columns
                        | {"index": k, "token_id": token, "top_token_id": top[index][k]}
                        | _change(before[k], cut[index][k])
                        for k, token in enumerate(tokens)
                    ]
            case "patches":
                rows["patches"].append(shared | item.columns | measured)
            case "noise":
                other = measured.pop("logprob_cut")
                rows["noise"].append(placed | measured | {"logprob_noop": other})


def swap_rows(example: Example, plan: Plan, outcome: JobResult, swapped: JobResult) -> list[dict[str, Any]]:
    """The control with another example's image (video, sound), for every window of every cut of its keys.

    Nothing is cut: the row says what the answer loses when all that the image tells is about something else, and so
    is the same at every layer. It is a scale for the cuts of the image, of which no size-matched control exists.
    """
    clean, wrong = _mean(outcome.clean.tolist()), _mean(swapped.clean.tolist())
    measured = _change(clean, wrong)
    top = swapped.top[0].tolist()
    return [
        {
            "example_id": example.id,
            "type": example.type,
            "layer": item.window.centre,
            "start": item.window.start,
            "stop": item.window.stop,
            "cut": item.columns["cut"],
            "control": f"{sense}-swap",
            "sample": 0,
            "target_token_id": int(outcome.tokens[0]),
            **measured,
            "prob_clean": math.exp(clean),
            "prob_cut": math.exp(wrong),
            "top_token_id": top[0],
            "flipped": top != outcome.top[0].tolist(),
        }
        for item in plan.planned
        if item.table == "effects" and (sense := _perceived(item.columns["cut"]))
    ]


def _perceived(text: str) -> str | None:
    """What the source of a cut is of, if an encoder perceived any of it: `image`, `video` or `audio`."""
    source, arrow, _ = text.partition("->")
    parts = [part.strip() for part in source.split("+")] if arrow else []
    return next((kind for kind in PERCEPTUAL for part in parts if part.startswith(kind)), None)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _change(clean: float, cut: float) -> dict[str, float]:
    # Beyond e^700 a float64 overflows; only a token that was impossible before the cut gets there.
    change = 100 * math.expm1(min(cut - clean, 700))
    return {"logprob_clean": clean, "logprob_cut": cut, "change_percent": change}
