"""How many questions a model answers, how many without seeing anything, and what metrics say of its answers."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, final, overload

import numpy as np
import polars as pl

from chiasm.core.errors import ExampleError
from chiasm.core.example import DEFAULT_INSTRUCTION, Example
from chiasm.data.metrics import Answered, AnswerRatio, describes, estimate, fitting, measure, objects_for
from chiasm.data.scoring import correct
from chiasm.data.sequences import all_without_media, without_media
from chiasm.measures.base import bound
from chiasm.models.encoded import Encoded
from chiasm.models.generation import GeneratedAnswer, generate
from chiasm.models.view import ModelView
from chiasm.results.rundir import RunDirectory
from chiasm.runners.driver import Computed
from chiasm.runners.examples import Work, run_examples
from chiasm.studies.eval import STUDY
from chiasm.studies.eval.spec import EvalSpec
from chiasm.studies.inputs import (
    blanked,
    example_row,
    for_preparing,
    is_endless,
    keep_thumbnails,
    load_inputs,
    read_examples,
    sized,
    with_defaults,
)

ANSWER_TOKENS, DESCRIPTION_TOKENS = 32, 128
_NO_NUMBERS = "the model gives NaN or infinite logits for this example"
_SHOWN = {"eval": "image", "blind": "blank"}
"""What stood before the question, by the table of the answers."""


class Question(NamedTuple):
    """An example ready to be answered, and the same with its image blanked."""

    example: Example
    seen: Encoded
    blind: Encoded | None


class EvalWork(Work[Question]):
    """Greedy answers of `view`, and whether they equal the label. `spec` is one that was `completed`."""

    def __init__(self, spec: EvalSpec, view: ModelView) -> None:
        assert spec.instruction is not None
        assert spec.max_new_tokens is not None
        self.spec, self.view, self.instruction, self.max_new_tokens = spec, view, spec.instruction, spec.max_new_tokens
        self._preparing = for_preparing(view)

    def prepare(self, index: int, example: Example) -> Question:
        seen = self._preparing.encode(example, instruction=self.instruction)
        if not label_of(example).strip():
            raise ExampleError("it has no labelled answer to be judged by")
        blind = self._preparing.encode(blanked(example), instruction=self.instruction) if self.spec.blind else None
        return Question(example, seen, blind)

    def compute(self, prepared: Sequence[Question]) -> Computed:
        seen = self._answers([item.seen for item in prepared])
        blind = self._answers([item.blind for item in prepared if item.blind is not None])
        # Without a blank image beside it, an example stands by itself.
        good = [k for k, answer in enumerate(seen) if answer.finite and (not blind or blind[k].finite)]
        failures = [(item.example.id, _NO_NUMBERS) for k, item in enumerate(prepared) if k not in good]
        kept = [prepared[k].example for k in good]
        frames = {"examples": [example_row(example) for example in kept]}
        frames["eval"] = self._rows(kept, [seen[k] for k in good])
        if self.spec.blind:
            frames["blind"] = self._rows(kept, [blind[k] for k in good])
        end = f"the end of its description: it was cut off after {self.max_new_tokens} tokens (--max-new-tokens)"
        # A text that is cut off names less, so that CHAIR is kinder to it.
        cut = [(prepared[k].example.id, end) for k in good if describes([prepared[k].example]) and not seen[k].ended]
        tables = {name: rows for name, rows in frames.items() if rows}
        return Computed(tables, failures, kept=len(kept), skipped=cut)

    def _answers(self, encoded: Sequence[Encoded]) -> list[GeneratedAnswer]:
        return generate(self.view, encoded, self.max_new_tokens)

    def _rows(self, examples: Sequence[Example], answers: Sequence[GeneratedAnswer]) -> list[dict[str, Any]]:
        return [
            {
                "example_id": example.id,
                "type": example.type,
                "answer": (label := label_of(example)),
                "generated": answer.text,
                "correct": correct(answer.text, label, self.spec.relaxed),
            }
            for example, answer in zip(examples, answers, strict=True)
        ]


def label_of(example: Example) -> str:
    """The labelled answer, the commonest of several, or the first of the captions where a description is asked for."""
    given = Counter(example.answers).most_common(1)
    return example.answer or (given[0][0] if given else next(iter(example.captions), ""))


def compute(spec: EvalSpec) -> RunDirectory:
    """The run of `spec`: what its directory already holds is not computed again.

    **Errors:** `ChiasmError` where the data lack what the task or a metric needs, or if no example is left.
    """
    asked, spec = spec, with_defaults(spec)
    chosen = read_examples(spec, spec.data, spec.task)
    spec = completed(spec, chosen)
    inputs = load_inputs(spec, chosen)
    spec = sized(spec, asked, inputs)

    return STUDY.completed(
        spec, inputs.facts, lambda directory: run_eval(spec, inputs.view, chosen, directory, thumbnails=True)
    )


def completed(spec: EvalSpec, examples: Sequence[Example]) -> EvalSpec:
    """`spec` with the instruction and the longest answer filled in: descriptions are neither one word nor short."""
    filled: dict[str, Any] = {}
    if spec.instruction is None:
        filled["instruction"] = "" if describes(all_without_media(examples)) else DEFAULT_INSTRUCTION
    if spec.max_new_tokens is None:
        filled["max_new_tokens"] = DESCRIPTION_TOKENS if describes(all_without_media(examples)) else ANSWER_TOKENS
    return spec.complete(**filled)


def answered_run(spec: EvalSpec, view: ModelView, examples: Sequence[Example], path: Path) -> RunDirectory:
    """The finished run in `path` of a spec that is not `completed` yet: the part of a study of several models."""
    spec = completed(spec, examples)
    return STUDY.completed(
        spec, {"asked": len(examples)}, lambda directory: run_eval(spec, view, examples, directory), path
    )


def run_eval(
    spec: EvalSpec, view: ModelView, examples: Sequence[Example], directory: RunDirectory, *, thumbnails: bool = False
) -> None:
    """Fill `directory` with the tables of a `completed` spec; what it already holds is not computed again.

    `thumbnails`: keep small pictures for the page too.

    **Errors:** `ChiasmError` if no example is left, or where the data lack what a metric needs.
    """
    run_examples(EvalWork(spec, view), examples, directory, spec.batch, "eval")
    directory.take_turn()
    if "eval" in directory.tables():
        write_metrics(spec, examples, directory)
    if thumbnails:
        keep_thumbnails(directory, examples)
    directory.finish()


def write_metrics(spec: EvalSpec, examples: Sequence[Example], directory: RunDirectory) -> None:
    """Write the tables `metrics` and `scores` from the answers that `directory` holds.

    **Errors:** `ChiasmError` where the data lack what a metric needs.
    """
    places: dict[str, int] = {}

    def placed() -> Iterator[Example]:
        for place, example in enumerate(all_without_media(examples)):
            places[example.id] = place
            yield example

    fit = fitting(placed())
    # Without metrics asked for, those that fit the data.
    names = spec.metrics or fit
    own = "scenes" if is_endless(spec.data) else None
    named = own if spec.objects is None else str(spec.objects)
    objects = objects_for(all_without_media(examples), named) if "chair" in names else None
    values: list[dict[str, Any]] = []
    scores: list[pl.DataFrame] = []
    inputs = dict(directory.table("examples").select("example_id", "input").iter_rows())
    for table, shown in _SHOWN.items():
        if table not in directory.tables():
            continue
        rows = directory.table(table)
        answered = _Answers(examples, [places[name] for name in rows["example_id"]], rows["generated"])
        measures: dict[str, AnswerRatio] = {}
        for name in names:
            measures |= {found.name: found for found in measure(name, answered, objects)}
        keys = [inputs[name] for name in rows["example_id"]]
        for found in measures.values():
            about = {"metric": found.name, "shown": shown}
            values += [about | row for row in _by_type(found, rows["type"], keys, spec.seed)]
            named_so = [pl.lit(value).alias(name) for name, value in about.items()]
            parts = {"part": pl.Series(found.parts), "whole": pl.Series(found.wholes)}
            scores.append(rows.select(*named_so, "example_id", "type", **parts))
    directory.write_table("metrics", values)
    directory.write_table("scores", pl.concat(scores))


@final
class _Answers(Sequence[Answered]):
    """The examples that have an answer and what was generated for them, without what they show and play."""

    def __init__(self, examples: Sequence[Example], places: Sequence[int], texts: pl.Series) -> None:
        self._examples, self._places, self._texts = examples, places, texts

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Answered: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Answered]: ...
    def __getitem__(self, index: int | slice) -> Answered | Sequence[Answered]:
        if isinstance(index, slice):
            return _Answers(self._examples, self._places[index], self._texts[index])
        return Answered(without_media(self._examples, self._places[index]), self._texts[index])


def _by_type(found: AnswerRatio, types: pl.Series, keys: Sequence[str], seed: int) -> Iterator[dict[str, Any]]:
    names = types.unique(maintain_order=True).to_list()
    groups = {"all": np.arange(len(types))}
    if len(names) > 1:
        groups |= {name: np.flatnonzero((types == name).to_numpy()) for name in names if name != "all"}
    for name, at in groups.items():
        part = AnswerRatio(found.name, found.parts[at], found.wholes[at])
        estimated = estimate(part, [keys[k] for k in at.tolist()], seed=seed)
        if estimated is None:
            yield {"type": name, "value": None, "low": None, "high": None, "n": 0}
        else:
            low, high = bound(estimated.low), bound(estimated.high)
            yield {"type": name, "value": float(estimated.mean), "low": low, "high": high, "n": estimated.n}
