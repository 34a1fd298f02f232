"""GQA in its published layout: questions and scene graphs as JSON, images in a folder.

Layout: https://cs.stanford.edu/people/dorarad/gqa/download.html (Hudson & Manning 2019, arXiv 1902.09506). A question
names its image (`imageId`), its kind (`types`: structural, semantic, detailed) and a program (`semantic`: steps with
`operation`, `argument`, `dependencies`) whose arguments name objects of the scene graph: `jar (496168)`, `mud (-)` for
one that is not there, `surfer,to the right of|to the left of,s (429128)` for a choice between relations.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from chiasm.core.example import Box, Example
from chiasm.data.files import unique
from chiasm.data.layouts.base import Layout, as_published, find, json_members, media_folder, part_of, required

_log = logging.getLogger("chiasm")
_SITE = "https://downloads.cs.stanford.edu/nlp/data/gqa"

TYPES: Mapping[str, tuple[str, str, frozenset[str]]] = MappingProxyType(
    {
        "ChooseAttr": ("choose", "attr", frozenset({"chooseAttr", "materialChoose", "typeChoose", "activityChoose"})),
        "ChooseCat": ("choose", "cat", frozenset({"objThisChoose", "categoryThatChoose", "categoryThisChoose"})),
        "ChooseRel": ("choose", "rel", frozenset({"relChooser"})),
        "CompareAttr": ("compare", "attr", frozenset({"twoCommon"})),
        "LogicalObj": ("logical", "obj", frozenset({"existThatOr", "existThatOrC"})),
        "QueryAttr": ("query", "attr", frozenset({"positionQuery"})),
    }
)
"""The six types of Zhang et al. 2025 by GQA's own (structural, semantic, detailed) fields, read from their files."""

_DETAILED = {detailed: name for name, (_, _, names) in TYPES.items() for detailed in names}
# The splits whose scene graphs are published.
_PARTS = {"heldout": "val", "train": "train"}
_OBJECTS = re.compile(r"(.*?)\s*\(([\d,\s]+)\)\s*")
# Relations as the program writes them and as questions and answers do.
_RELATIONS = {"to the left of": "left", "to the right of": "right", "in front of": "front"}

Graph = dict[str, Box]  # object id -> its box, under the scene graph's name


def is_gqa(folder: Path) -> bool:
    """Whether `folder` holds one of GQA's question or scene graph files, directly or one folder down."""
    names = (f"{part}_{name}.json" for part in _PARTS.values() for name in ("balanced_questions", "sceneGraphs"))
    return find(folder, *names) is not None


def read_gqa(folder: Path, split: str = "heldout", media: Path | None = None) -> Iterator[Example]:
    """The questions of the six types (`TYPES`), in file order; `heldout` is GQA's val, its test sets have no graphs.

    `media`: the folder that holds `<imageId>.jpg` (default: `images` in `folder`, or in its archive's own folder).
    Boxes: the objects that the program's last step asks about come first, then the others of the program, then those
    that only the annotation of the question names; each under the word that the question uses. `options`, for the
    Choose types, stand in the order of the question.

    **Errors:** `ChiasmError` with what to download where a part is missing, and for a question of another form.
    """
    part = part_of(split, _PARTS, "GQA")
    questions = required("GQA", folder, [f"{part}_balanced_questions.json"], f"{_SITE}/questions1.2.zip")
    graphs = required("GQA", folder, [f"{part}_sceneGraphs.json"], f"{_SITE}/sceneGraphs.zip")
    images = media or gqa_images(folder, "images", "images/images", "allImages/images")
    return unique(str(questions), _examples(questions, graphs, images))


def gqa_images(folder: Path, *names: str) -> Path:
    """The first of the folders `names` in `folder` that holds GQA's images.

    **Errors:** `ChiasmError` with where they are to be had.
    """
    return media_folder(folder, names, (".jpg",), f"GQA's images ({_SITE}/images.zip)")


def _examples(questions: Path, graphs: Path, images: Path) -> Iterator[tuple[str, Example]]:
    boxes = {
        image: as_published(f"image `{image}` of {graphs}", _graph, graph) for image, graph in json_members(graphs)
    }
    others = 0
    for name, question in json_members(questions):
        where = f"question `{name}` of {questions}"
        example = as_published(where, _example, name, question, boxes, images)
        if example is None:
            others += 1
        else:
            yield where, example
    if others:
        _log.warning("%d questions of %s are of none of the six types and were left out.", others, questions.name)


def _graph(graph: dict[str, Any]) -> Graph:
    return {name: Box(o["name"], o["x"], o["y"], o["w"], o["h"]) for name, o in graph["objects"].items()}


def _type(types: dict[str, str]) -> str | None:
    name = _DETAILED.get(types["detailed"])
    return name if name and TYPES[name][:2] == (types["structural"], types["semantic"]) else None


def _example(id: str, question: dict[str, Any], graphs: dict[str, Graph], images: Path) -> Example | None:
    """The example, or None for a question of another type."""
    group = _type(question["types"])
    if group is None:
        return None
    graph = graphs.get(question["imageId"], {})
    program = question["semantic"]
    named: dict[str, str] = {}  # object id -> the word of the question, in the order of the boxes
    last = program[-1]
    for step in (*_asked_about(program, last), last, *program):
        word, ids = _objects(step)
        for object_id in ids:
            named.setdefault(object_id, word)
    for object_id in question["annotations"]["question"].values():
        named.setdefault(object_id, "_")
    answer: str = question["answer"]
    boxes = (graph[o]._replace(name=graph[o].name if word == "_" else word) for o, word in named.items() if o in graph)
    choices = [_RELATIONS.get(choice, choice) for choice in _choices(last)]
    return Example(
        id=id,
        question=question["question"],
        answer=_RELATIONS.get(answer, answer),
        images=((images / f"{question['imageId']}.jpg").absolute(),),
        within=images.absolute(),
        options=in_question_order(question["question"], *choices) if len(choices) == 2 else (),
        type=group,
        boxes=tuple(boxes),
    )


def _asked_about(program: list[dict[str, Any]], step: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The nearest steps before `step` that name an object: what a choice, a comparison or an `or` is about."""
    for number in step["dependencies"]:
        before = program[number]
        if _objects(before)[1]:
            yield before
        else:
            yield from _asked_about(program, before)


def _objects(step: dict[str, Any]) -> tuple[str, list[str]]:
    """The word and the object ids of a program step: `jar (496168)`; the word is `_` where the question has none."""
    found = _OBJECTS.fullmatch(step["argument"])
    if found is None:
        return "_", []
    return found[1].split(",")[0].strip(), [part.strip() for part in found[2].split(",")]


def _choices(step: dict[str, Any]) -> list[str]:
    if not step["operation"].startswith("choose"):
        return []
    parts = [part for part in re.sub(r"\(.*?\)", "", step["argument"]).split(",") if "|" in part]
    return [choice.strip() for choice in parts[0].split("|")] if parts else []


def in_question_order(question: str, first: str, second: str) -> tuple[str, str]:
    """The two options in the order in which `question` offers them.

    GQA's program and the paper's files put the right answer first, so their order would give it away. Options are
    looked up around `or` as whole words ("hat" also stands in "What", "right" twice in "to the right or to the left
    of the chair on the right side"), then as parts of words (the option is "elephant", the question has "elephants").
    Where the question does not show it, they are in alphabetical order.
    """
    pairs = ((first, second), (second, first))
    for edge in (r"\b", ""):
        offered = [(a, b) for a, b in pairs if re.search(_offer(a, b, edge), question, re.IGNORECASE)]
        if len(offered) == 1:
            return offered[0]
    return min(pairs)


def _offer(a: str, b: str, edge: str) -> str:
    return rf"{edge}{re.escape(a)}{edge}.*?\bor\b.*?{edge}{re.escape(b)}{edge}"


GQA = Layout(
    "gqa",
    "GQA",
    is_gqa,
    read_gqa,
    "`val_balanced_questions.json`, `val_sceneGraphs.json`, `images/`",
    partial_boxes=True,
)
