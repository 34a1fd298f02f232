"""Minimal pairs of scenes: the same scene with one attribute of one object changed, and the same question about it."""

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from chiasm.core.errors import ExampleError
from chiasm.core.example import Example
from chiasm.data.scenes.questions import SceneQuestion, relation
from chiasm.data.scenes.stream import SCENES, example_of
from chiasm.data.scenes.world import CELL, COLORS, COLUMNS, ROWS, SHAPES, SIZES, Scene, SceneSplit, Thing, place

_ID: Final = re.compile(r"scenes-(train|heldout|all)-(\d+)-(\d+)")
_NAMED: Final = re.compile(r"\ba (\w+)")


def is_scene(example: Example) -> bool:
    """Whether the example is one of `scenes`, so that its scene can be drawn again and changed."""
    found = _ID.fullmatch(example.id)
    return found is not None and _drawn(example.id)[1].text == example.question


def changed_answer(example: Example) -> Example:
    """An example of `scenes` with one attribute of the object asked about changed so that the other answer is right.

    The question stays as it is. Objects keep their number, no two get one shape or one place; a place that changes
    does so along its row where there is room. Depends on the example's id alone.

    **Errors:** `ExampleError` where no change of one attribute gives the other answer; `ValueError` for an example that
    is none of `scenes`.
    """
    return _counterfactual(example, example.id, other=True)


def same_answer(example: Example, of: Example | None = None) -> Example:
    """The scene of `example` with one attribute changed that the answer does not depend on.

    `of`: what `changed_answer` made of `example`, whose scene is taken instead.

    **Errors:** as `changed_answer`.
    """
    return _counterfactual(example, example.id if of is None else of.id, other=False)


def answer_of(scene: Scene, question: SceneQuestion) -> str | None:
    """The answer to a question about another scene than it was made for; None where it has none of its options there.

    **Errors:** `ValueError` for an unknown type.
    """
    return _ANSWERS[question.type](scene, question)


def _counterfactual(example: Example, place_of: str, *, other: bool) -> Example:
    scene, question = _drawn(example.id)
    if place_of != example.id:
        scene = _changed_scene(example.id, scene, question, other=True)[0]
    answer = answer_of(scene, question)
    changed, name = _changed_scene(place_of, scene, question, other=other)
    about = tuple(thing for one in question.about if (thing := _same_thing(changed, scene, one)) is not None)
    if question.type == "LogicalObj":
        about = tuple(t for shape in _NAMED.findall(question.text) if (t := changed.find(shape)) is not None)
    asked = replace(question, answer=answer_of(changed, question) or str(answer), about=about)
    return example_of(f"{place_of}/{name}", changed, asked, random.Random(f"captions/{place_of}/{name}"))


def _drawn(example_id: str) -> tuple[Scene, SceneQuestion]:
    found = _ID.fullmatch(example_id)
    if found is None:
        raise ValueError(f"`{example_id}` is no example of scenes")
    split: SceneSplit = found[1]  # type: ignore[assignment]  # the pattern names the splits
    return SCENES.question(int(found[2]), split, int(found[3]))


def _changed_scene(example_id: str, scene: Scene, question: SceneQuestion, *, other: bool) -> tuple[Scene, str]:
    """The scene with one attribute changed, and the name of the change."""
    rng = random.Random(f"changed/{other}/{example_id}")
    answer, found = answer_of(scene, question), []
    asked = [thing for one in question.about if (thing := scene.find(one.shape)) is not None] or list(scene.things)
    # The central object first: another is changed only where that one cannot be.
    for thing in asked if question.type != "LogicalObj" else list(scene.things):
        for changed, name in _changes(scene, thing, rng):
            after = answer_of(changed, question)
            if after is not None and (after != answer) == other:
                found.append((changed, name))
        if found:
            return rng.choice(_simplest(found, scene))
    what = "the other answer" if other else "the same answer"
    raise ExampleError(f"no change of one attribute of one object gives {what} to its question")


def _simplest(found: list[tuple[Scene, str]], scene: Scene) -> list[tuple[Scene, str]]:
    """Those with the fewest words changed: a place along its row or column before any other."""
    words = {one: sum(a != b for a, b in _pairs(scene, one)) for one, _ in found}
    least = min(words.values())
    return [(one, name) for one, name in found if words[one] == least]


def _pairs(scene: Scene, other: Scene) -> Iterator[tuple[str, str]]:
    for a, b in zip(scene.things, other.things, strict=True):
        yield from zip(a.content, b.content, strict=True)


def _same_thing(changed: Scene, scene: Scene, one: Thing) -> Thing | None:
    """The object of the changed scene that stands where `one` stood in the order of things."""
    return next((b for a, b in zip(scene.things, changed.things, strict=True) if a.shape == one.shape), None)


def _changes(scene: Scene, thing: Thing, rng: random.Random) -> Iterator[tuple[Scene, str]]:
    """Every scene in which one attribute of `thing` is another."""

    def with_thing(changed: Thing, name: str) -> tuple[Scene, str]:
        things = tuple(changed if one is thing else one for one in scene.things)
        return replace(scene, things=things), f"{thing.shape}-{name}"

    for color in COLORS:
        if color != thing.color:
            yield with_thing(replace(thing, color=color), f"color-{color}")
    for shape in SHAPES:
        if scene.find(shape) is None:
            yield with_thing(replace(thing, shape=shape), f"shape-{shape}")
    for size in SIZES:
        if size != thing.size:
            yield with_thing(place(rng, thing.shape, thing.color, size, thing.row, thing.column), f"size-{size}")
    taken = {(one.row, one.column) for one in scene.things}
    for row in ROWS:
        for column in COLUMNS:
            if (row, column) not in taken:
                yield with_thing(_moved(thing, row, column), f"place-{row}-{column}")


def _moved(thing: Thing, row: str, column: str) -> Thing:
    """The object in another cell, at the same place inside it."""
    x = thing.x + (COLUMNS.index(column) - COLUMNS.index(thing.column)) * CELL
    y = thing.y + (ROWS.index(row) - ROWS.index(thing.row)) * CELL
    return replace(thing, row=row, column=column, x=x, y=y)


def _color(scene: Scene, question: SceneQuestion) -> str | None:
    thing = scene.find(question.about[0].shape)
    return thing.color if thing is not None and thing.color in question.options else None


def _category(scene: Scene, question: SceneQuestion) -> str | None:
    alone = [thing for thing in scene.things if thing.color == question.about[0].color]
    return alone[0].shape if len(alone) == 1 and alone[0].shape in question.options else None


def _relation(scene: Scene, question: SceneQuestion) -> str | None:
    a, b = (scene.find(one.shape) for one in question.about)
    return None if a is None or b is None else relation(a, b, "left" in question.options)


def _shared(scene: Scene, question: SceneQuestion) -> str | None:
    a, b = (scene.find(one.shape) for one in question.about)
    if a is None or b is None or (a.color == b.color) == (a.size == b.size):
        return None
    return "color" if a.color == b.color else "size"


def _exists(scene: Scene, question: SceneQuestion) -> str:
    return "yes" if any(scene.find(shape) is not None for shape in _NAMED.findall(question.text)) else "no"


def _side(scene: Scene, question: SceneQuestion) -> str | None:
    thing = scene.find(question.about[0].shape)
    return None if thing is None or thing.column == "center" else thing.column


_ANSWERS: Final[dict[str, Callable[[Scene, SceneQuestion], str | None]]] = {
    "ChooseAttr": _color,
    "ChooseCat": _category,
    "ChooseRel": _relation,
    "CompareAttr": _shared,
    "LogicalObj": _exists,
    "QueryAttr": _side,
}
