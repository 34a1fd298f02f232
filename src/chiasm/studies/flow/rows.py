"""From the results of a run's variants to rows: effects and controls, answers tracked, words at the question."""

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import Tensor

from chiasm.core.claims import known
from chiasm.core.errors import GuardError
from chiasm.core.example import Example
from chiasm.core.spans import PERCEPTUAL
from chiasm.interventions import Window, pair_of
from chiasm.measures.base import RowsByTable
from chiasm.models.executors.jobs import JobResult
from chiasm.models.executors.rounding import allowance
from chiasm.models.view import ModelView
from chiasm.models.words import text_of
from chiasm.studies.flow.followed_words import word_columns
from chiasm.studies.flow.plan import ExamplePlan
from chiasm.studies.flow.tables import WORDS_OF

_CONTROLS: Final = {"effects": "controls", "heads": "heads_controls", "answer_words": "answer_words_controls"}


def planned_rows(rows: RowsByTable, example: Example, plan: ExamplePlan, outcome: JobResult) -> None:
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
        placed = shared | _placed(window)
        match item.table:
            case "effects" | "controls":
                own = word_columns(plan.words, before, cut[index])
                rows[WORDS_OF[item.table]] += [placed | item.columns | one for one in own]
                rows[item.table].append(placed | item.columns | _effect(tokens[0], measured, top[index], clean_top))
                if item.table == "effects" and len(tokens) > 1:
                    rows["tokens"] += [
                        placed
                        | item.columns
                        | {"index": k, "token_id": token, "top_token_id": top[index][k]}
                        | _change(before[k], cut[index][k])
                        for k, token in enumerate(tokens)
                    ]
            case "heads" | "heads_controls":
                logprobs = {name: measured[name] for name in ("logprob_clean", "logprob_cut")}
                rows[item.table].append(shared | {"layer": window.centre} | item.columns | logprobs)
            case "patches":
                rows["patches"].append(shared | item.columns | measured)
            case "noise":
                other = measured.pop("logprob_cut")
                rows["noise"].append(placed | measured | {"logprob_noop": other})


def beside_rows(
    rows: RowsByTable, example: Example, plan: ExamplePlan, outcome: JobResult, control: str, sample: int
) -> None:
    """Append what the same changes do elsewhere (on a blank image, with random weights), as the control so called."""
    own: RowsByTable = defaultdict(list)
    planned_rows(own, example, plan, outcome)
    for table, controls in _CONTROLS.items():
        rows[controls] += [row | {"control": control, "sample": sample} for row in own[table]]


def map_rows(example: Example, plan: ExamplePlan, outcome: JobResult, answer: str) -> list[dict[str, Any]]:
    """Rows of the table `patch_values`: what each patch adds to the log-probability of `answer`, in every method.

    Empty where the plan has no map.
    """
    mapped = plan.mapped
    if mapped is None:
        return []
    logprobs = outcome.logprobs.tolist()
    window = plan.planned[plan.first_mapped].window
    noop = plan.noops.get((window.start, window.stop)) if plan.paired else None
    clean = _mean(outcome.clean.tolist() if noop is None else logprobs[noop])
    measured = [_mean(one) for one in logprobs[plan.first_mapped :]]
    shared = {"example_id": example.id, "type": example.type, "answer": answer}
    return [
        shared
        | {"patch": patch, "method": method, "value": value, "n": n}
        | {"low": known(low), "high": known(high)}
        | {"in_object": None if mapped.in_object is None else mapped.in_object[patch]}
        for method, patch, value, low, high, n in mapped.values(clean, measured)
    ]


def swap_rows(example: Example, plan: ExamplePlan, outcome: JobResult, swapped: JobResult) -> list[dict[str, Any]]:
    """The control with another example's image (video, sound), for every window of every cut of its keys.

    Nothing is cut: the row says what the answer loses when all that the image shows is about something else, and so
    is the same at every layer. It is a scale for the cuts of the image, of which no size-matched control exists.
    """
    clean, wrong = _mean(outcome.clean.tolist()), _mean(swapped.clean.tolist())
    top, clean_top = swapped.top[0].tolist(), outcome.top[0].tolist()
    shared = {"example_id": example.id, "type": example.type, "sample": 0}
    shared |= _effect(int(outcome.tokens[0]), _change(clean, wrong), top, clean_top)
    return [
        shared | _placed(item.window) | {"cut": item.columns["cut"], "control": f"{sense}-swap"}
        for item in plan.planned
        if item.table == "effects" and (sense := perceived(item.columns["cut"]))
    ]


def swap_word_rows(example: Example, plan: ExamplePlan, outcome: JobResult, swapped: JobResult) -> list[dict[str, Any]]:
    """The same control for each word of the answer."""
    clean, wrong = outcome.clean.tolist(), swapped.clean.tolist()
    shared = {"example_id": example.id, "type": example.type, "sample": 0}
    return [
        shared | _placed(item.window) | {"cut": item.columns["cut"], "control": f"{sense}-swap"} | word
        for item in plan.planned
        if item.table == "effects" and (sense := perceived(item.columns["cut"]))
        for word in word_columns(plan.words, clean, wrong)
    ]


def rounding_rows(served: Sequence[dict[str, Any]], raised: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the table `rounding`, from those of the same cuts as `effects`: as served, and in float32."""
    keys = ("example_id", "type", "cut", "layer", "start", "stop")
    return [
        {key: one[key] for key in keys}
        | {
            f"change_{name}": row["logprob_cut"] - row["logprob_clean"]
            for name, row in (("served", one), ("raised", other))
        }
        for one, other in zip(served, raised, strict=True)
    ]


def _placed(window: Window) -> dict[str, int]:
    return {"layer": window.centre, "start": window.start, "stop": window.stop}


def _effect(target: int, measured: dict[str, float], top: list[int], clean_top: list[int]) -> dict[str, Any]:
    return {
        "target_token_id": target,
        **measured,
        "prob_clean": math.exp(measured["logprob_clean"]),
        "prob_cut": math.exp(measured["logprob_cut"]),
        "top_token_id": top[0],
        "flipped": top != clean_top,
    }


def perceived(text: str) -> str | None:
    """What the source of a cut is of, if an encoder perceived any of it: `image`, `video` or `audio`."""
    source, arrow, _ = pair_of(text).partition("->")
    parts = [part.strip() for part in source.split("+")] if arrow else []
    return next((kind for kind in PERCEPTUAL for part in parts if part.startswith(kind)), None)


def target_text(view: ModelView, outcome: JobResult) -> str:
    """The tokens that are followed, as text."""
    return text_of(view.tokenizer, outcome.tokens.tolist()).strip()


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _change(clean: float, cut: float) -> dict[str, float]:
    # Beyond e^700 a float64 overflows; only a token that was impossible before the cut gets there.
    change = 100 * math.expm1(min(cut - clean, 700))
    return {"logprob_clean": clean, "logprob_cut": cut, "change_percent": change}


def forms_of(example: Example) -> dict[str, str]:
    """The written forms to follow, by the name they have in the table: the labelled answer's, then every option's.

    Source: Zhang et al. 2025, section 4 (lower-case against capitalised answers, true against false options).
    """
    answer = example.answer.strip()
    forms = {"lower": answer.lower(), "capital": answer.capitalize()} if answer else {}
    for option in example.options:
        written = option.strip()
        forms |= {form: form for form in (written.lower(), written.capitalize()) if form}
    return forms


@torch.no_grad()
def answer_rows(
    view: ModelView, example: Example, plan: ExamplePlan, outcome: JobResult, forms: dict[str, int]
) -> list[dict[str, Any]]:
    """Rows of the table `answers`: the probability of every form's first token at every state 0..L.

    `prob_raw` is as released: un-normed, except state L, which transformers hands out normed.

    **Errors:** `GuardError` if the lens does not give the model's own output where it must, at state L.
    """
    states = outcome.states["last"][:, 0].to(view.device)
    normed = _probabilities(view.unembed(states)).cpu()
    raw = _probabilities(view.unembed(states, normed=False)).cpu()
    raw[-1] = normed[-1]
    off = abs(float(normed[-1, int(outcome.tokens[0])].log()) - float(outcome.clean[0]))
    # `not <=` so that NaN is a mismatch too.
    if not off <= allowance(view, plan.job.encoded.inputs):
        raise GuardError(
            f"reading states of {view.name} through its head",
            f"at the last layer the log-probability is off by {off:.2g} from the model's own",
            "Report the model: it does more between its last layer and its logits than chiasm knows",
        )
    return [
        {
            "example_id": example.id,
            "type": example.type,
            "layer": layer,
            "form": form,
            "token_id": token,
            "prob": normed[layer, token].item(),
            "prob_raw": raw[layer, token].item(),
        }
        for form, token in forms.items()
        for layer in range(len(states))
    ]


def _probabilities(logits: Float[Tensor, "S N"]) -> Float[Tensor, "S N"]:
    return torch.softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=-1)


@torch.no_grad()
def word_rows(
    view: ModelView, example: Example, states: Float[Tensor, "S n D"], positions: Sequence[int]
) -> list[dict[str, Any]]:
    """Rows of the table `words`: the most probable token at every state 0..L of every question position.

    Source: Zhang et al. 2025, released code (overlap with the column `captions`). A caption's words are matched whole,
    case ignored, so a word that the tokenizer splits is not found; an example without captions has null there.
    """
    known = {word for caption in example.captions for word in re.findall(r"\w+", caption.lower())}
    rows = []
    with view.raised(view.head, view.final_norm):
        bests = [_probabilities(view.unembed(state.to(view.device))).max(dim=-1) for state in states]
    for layer, best in enumerate(bests):
        for position, token, prob in zip(positions, best.indices.tolist(), best.values.tolist(), strict=True):
            word = text_of(view.tokenizer, [token]).strip()
            found = {"layer": layer, "position": position, "token_id": token, "word": word, "prob": prob}
            found["in_captions"] = word.lower() in known if known else None
            rows.append({"example_id": example.id, "type": example.type} | found)
    return rows
