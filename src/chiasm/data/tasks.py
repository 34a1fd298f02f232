"""The same images under another question: describe them, or say whether an object is there (POPE from boxes)."""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Literal, cast, get_args

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Example, input_key
from chiasm.data.layouts.base import DESCRIBE

Task = Literal["qa", "caption", "pope-random", "pope-popular", "pope-adversarial"]
TASKS: tuple[Task, ...] = get_args(Task)
"""What may be asked about an input."""

IN_THE_INPUT = "Is there {thing} in the {kind}?"
"""POPE's question; `thing` with its article, `kind` is image, video or audio."""
PER_IMAGE = 3
"""Objects asked for that are there, and as many that are not: as POPE."""


@dataclass(frozen=True, slots=True)
class SharedInput:
    """An image (video, sound): the first example that asks about it, and all objects that any of them names."""

    example: Example
    names: tuple[str, ...]


def as_task(
    found: Iterable[Example], task: Task, limit: int | None = None, seed: int = 0, presence: str = IN_THE_INPUT
) -> Iterator[Example]:
    """The first `limit` examples of `task` on the inputs of `found`.

    `qa`: as they are. `caption`: one request to describe per input; `captions` are the references. `pope-MODE`: up to
    three objects that are there and as many that are not, asked for in turn, the latter drawn at random, the most
    frequent in the data, or those that most often stand beside the one just asked for. `presence`: how it is asked.

    Source of POPE: Li et al. 2023 (arXiv 2305.10355), section 4, and its released code; there, images with fewer
    than three objects are left out, and here they get fewer questions. Assumption: the boxes of an input, over all
    questions on it, name every object that is there, of those that the data name at all. GQA's do not: its boxes are
    the question's. The objects of all of `found` are read first. Examples that cannot be used come last, as they are.

    **Errors:** `ChiasmError` for another task, or where there are no captions (no boxes) to make it from.
    """
    if task_of(task) == "qa":
        return islice(iter(found), limit)
    every = list(found)
    inputs = _inputs(example for example in every if not example.fault)
    made = _descriptions(inputs) if task == "caption" else _presence(inputs, task.removeprefix("pope-"), seed, presence)
    return islice(chain(made, (example for example in every if example.fault)), limit)


def _inputs(found: Iterable[Example]) -> list[SharedInput]:
    by_input: dict[str, SharedInput] = {}
    for example in found:
        key = input_key(example)
        names = tuple(box.name.strip().lower() for box in example.boxes)
        if key not in by_input:
            by_input[key] = SharedInput(example, tuple(dict.fromkeys(names)))
            continue
        first = by_input[key]
        whole = replace(
            first.example,
            boxes=tuple(dict.fromkeys((*first.example.boxes, *example.boxes))),
            captions=tuple(dict.fromkeys((*first.example.captions, *example.captions))),
        )
        by_input[key] = SharedInput(whole, tuple(dict.fromkeys((*first.names, *names))))
    return list(by_input.values())


def _descriptions(inputs: Sequence[SharedInput]) -> Iterator[Example]:
    described = [one.example for one in inputs if one.example.captions]
    if not described:
        raise ChiasmError("ask for descriptions", "no example has `captions` to compare with", "Give some")
    for example in described:
        asked = DESCRIBE[_modality(example)]
        yield replace(
            example, id=f"{example.id}-caption", question=asked, answer="", answers=(), options=(), type="all"
        )


def _modality(example: Example) -> str:
    return "video" if example.videos else "audio" if example.audios else "image"


def _presence(inputs: Sequence[SharedInput], mode: str, seed: int, words: str) -> Iterator[Example]:
    shown = [one for one in inputs if one.names]
    frequency = Counter(name for one in shown for name in one.names)
    if not any(set(frequency) - set(one.names) for one in shown):
        found = f"the boxes name {len(frequency)} kinds of objects, and no image lacks one of them"
        raise ChiasmError(f"ask which objects are there (pope-{mode})", found, "Give every image's objects as boxes")
    beside: dict[str, Counter[str]] = {name: Counter() for name in frequency}
    for one in shown:
        for name in one.names:
            beside[name].update(other for other in one.names if other != name)
    for one in shown:
        rng = random.Random(f"pope/{mode}/{seed}/{one.example.id}")
        absent = [name for name in sorted(frequency) if name not in one.names]
        rng.shuffle(absent)
        asked = rng.sample(one.names, min(PER_IMAGE, len(one.names), len(absent)))
        for number, name in enumerate(asked):
            # Sorting is stable, so objects that are equally frequent stay in random order.
            if mode == "popular":
                absent.sort(key=lambda other: -frequency[other])
            elif mode == "adversarial":
                absent.sort(key=lambda other: -beside[name][other])
            yield _question(one.example, words, name, "yes", f"{mode}-{2 * number}")
            yield _question(one.example, words, absent.pop(0), "no", f"{mode}-{2 * number + 1}")


def _question(example: Example, words: str, name: str, answer: str, place: str) -> Example:
    thing = f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
    return replace(
        example,
        id=f"{example.id}-{place}",
        question=words.format(thing=thing, kind=_modality(example)),
        answer=answer,
        answers=(),
        options=("yes", "no"),
        type=place.partition("-")[0],
    )


def task_of(name: str) -> Task:
    """A task by its name.

    **Errors:** `ChiasmError` for another name.
    """
    if name not in TASKS:
        raise ChiasmError(f"the task `{name}`", f"there are {', '.join(TASKS)}", "Name one of those")
    return cast("Task", name)
