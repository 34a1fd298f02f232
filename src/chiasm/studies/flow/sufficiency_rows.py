"""From what is left with only some routes open to rows of the tables `keep_only` and `sufficiency`."""

from collections.abc import Mapping, Sequence
from typing import Any

from chiasm.core.example import Example
from chiasm.models.executors.jobs import JobResult
from chiasm.studies.flow.plan import ExamplePlan


def kept_rows(
    example: Example, plan: ExamplePlan, outcome: JobResult, forms: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Rows of the table `keep_only`: what is left. `forms`: first tokens of the labelled answer."""
    answer = plan.job.encoded.answer_tokens
    found = []
    for index, item in enumerate(plan.planned):
        if item.table == "keep_only":
            noop = plan.noops.get((item.window.start, item.window.stop)) if plan.paired else None
            clean = outcome.clean if noop is None else outcome.logprobs[noop]
            logprobs = (float(clean.mean()), float(outcome.logprobs[index].mean()))
            right = (
                is_right(outcome.top[0].tolist(), forms, answer),
                is_right(outcome.top[index].tolist(), forms, answer),
            )
            found.append(sufficiency_row(example, item.columns, int(outcome.tokens[0]), logprobs, right))
    return found


def sufficiency_row(
    example: Example,
    columns: Mapping[str, Any],
    target: int,
    logprobs: tuple[float, float],
    right: tuple[bool, bool],
) -> dict[str, Any]:
    """A row of the table `sufficiency`. `logprobs`, `right`: untouched, and with only these routes open."""
    measured = {"logprob_clean": logprobs[0], "logprob_kept": logprobs[1], "right_clean": right[0]}
    measured |= {"right_kept": right[1], "target_token_id": target}
    return {"example_id": example.id, "type": example.type} | dict(columns) | measured


def is_right(top: Sequence[int], forms: Mapping[str, int], answer: Sequence[int]) -> bool:
    """Whether the most probable tokens begin the labelled answer: its first token in either form, or every token of the
    `answer` that is followed whole.
    """
    if answer:
        return list(top) == list(answer)
    return int(top[0]) in {token for form, token in forms.items() if form in ("lower", "capital")}
