"""Which metric fits data, by the form of their answers."""

from collections.abc import Sequence
from pathlib import Path

from chiasm.core.example import Example
from chiasm.data.metrics.objects import Objects, objects, read_objects


def describes(examples: Sequence[Example]) -> bool:
    """Whether the examples ask for descriptions: they have captions and no label."""
    return all(example.captions and not example.answer and not example.answers for example in examples)


def fitting(examples: Sequence[Example]) -> tuple[str, ...]:
    """The metrics that fit, the main one first.

    `vqa` where questions have several annotators' answers, `pope` where all labels are yes or no, `cider` where there
    are captions and no label (and `chair` where there are boxes too), else `exact`.
    """
    if describes(examples):
        return ("cider", "chair") if any(example.boxes for example in examples) else ("cider",)
    if any(len(example.answers) > 1 for example in examples):
        return ("vqa", "exact")
    if all(example.answer.strip().lower() in ("yes", "no") for example in examples):
        return ("pope", "exact")
    return ("exact",)


def objects_for(examples: Sequence[Example], named: str | None = None) -> Objects | None:
    """The list of objects for CHAIR: `scenes`, a file (see `read_objects`), or else the names of the boxes.

    None where no example has a box.

    **Errors:** `ChiasmError` for a file that cannot be read.
    """
    if named == "scenes":
        # Drawing is not needed to score texts.
        from chiasm.data.scenes.world import SHAPES

        return objects([shape] for shape in SHAPES)
    if named is not None:
        return read_objects(Path(named))
    boxes = sorted({box.name.strip().lower() for example in examples for box in example.boxes})
    return objects([name] for name in boxes if name) if boxes else None
