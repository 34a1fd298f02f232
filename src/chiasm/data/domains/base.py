"""What a domain is: pictures with one label each, in three parts that share no picture, and the list of classes."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Media
from chiasm.data.domains.answers import normalised

T = TypeVar("T")
Part = Literal["train", "validation", "test"]
VALIDATION = 0.1
"""Share of the training pictures that is set apart; the paper names no validation part."""
TEST = 0.2
"""Share of a folder without parts that becomes the test."""


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One picture and its label, which is one of the domain's classes."""

    id: str
    image: Media
    label: str


@dataclass(frozen=True, slots=True, eq=False)
class Domain:
    """A classification task. `topic` fills the prompt's "categories relating to"; `notes` say what is unusual."""

    name: str
    topic: str
    classes: tuple[str, ...]
    train: tuple[Item, ...]
    validation: tuple[Item, ...]
    test: tuple[Item, ...]
    notes: tuple[str, ...] = ()

    def limited(self, count: int | None, seed: int = 0) -> "Domain":
        """At most `count` pictures per part, classes in turn; None leaves all.

        **Errors:** `ChiasmError` for less than one.
        """
        if count is None:
            return self
        if count < 1:
            raise ChiasmError(f"take {count} pictures", "that is none", "Ask for at least one")
        parts = {part: tuple(in_turn(getattr(self, part), seed)[:count]) for part in ("train", "validation", "test")}
        return replace(self, **parts)


def make_domain(
    name: str,
    topic: str,
    train: Sequence[Item],
    test: Sequence[Item],
    *,
    validation: Sequence[Item] | None = None,
    classes: Sequence[str] | None = None,
    notes: Iterable[str] = (),
    seed: int = 0,
) -> Domain:
    """A domain of what a reader found; without a `validation` part one is set apart from `train`, class by class.

    Without `classes` these are the labels that occur, in alphabetical order.

    **Errors:** `ChiasmError` for fewer than two classes, classes that the answer parser could not tell apart, a label
    outside `classes`, a repeated id, or a part without pictures.
    """
    told = list(notes)
    found = Counter(item.label for item in (*train, *(validation or ()), *test))
    names = tuple(classes) if classes is not None else tuple(sorted(found))
    _check_names(name, names)
    unknown = sorted(set(found) - set(names))
    if unknown:
        labels = f"{found[unknown[0]]} pictures are labelled `{unknown[0]}`"
        raise ChiasmError(f"read the domain `{name}`", f"{labels}, which is no class", "Add it to the classes")
    empty = [label for label in names if not found[label]]
    if empty:
        told.append(f"classes without a picture, left out of the list: {', '.join(empty)}")
        names = tuple(label for label in names if found[label])
    kept = tuple(train)
    if validation is None:
        kept, validation = stratified(train, VALIDATION, seed)
    in_train = Counter(item.label for item in train)
    single = [label for label in names if in_train[label] == 1]
    if single:
        told.append(f"classes with one training picture, so none for validation: {', '.join(single)}")
    for missing, what in (
        ([label for label in names if not in_train[label]], "training"),
        (sorted(set(names) - {item.label for item in test}), "test"),
    ):
        if missing:
            told.append(f"classes without a {what} picture: {', '.join(missing)}")
    for part, items in (("train", kept), ("test", test)):
        if not items:
            raise ChiasmError(f"read the domain `{name}`", f"its part `{part}` has no picture", "Give it some")
    ids = Counter(item.id for item in (*kept, *validation, *test))
    repeated, times = ids.most_common(1)[0]
    if times > 1:
        raise ChiasmError(f"read the domain `{name}`", f"`{repeated}` occurs {times} times", "Keep one of them")
    return Domain(name, topic, names, kept, tuple(validation), tuple(test), tuple(told))


def stratified(items: Sequence[Item], share: float, seed: int) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    """`items` in two parts, the second with the `share` of every class, rounded; one of each class stays in the first.

    Which ones is drawn by `seed`; both parts keep the order of `items`.
    """
    by_class: dict[str, list[int]] = defaultdict(list)
    for place, item in enumerate(items):
        by_class[item.label].append(place)
    chosen: set[int] = set()
    for label, places in by_class.items():
        count = min(round(share * len(places)), len(places) - 1)
        chosen.update(random.Random(f"stratified/{seed}/{label}").sample(places, count))
    first = tuple(item for place, item in enumerate(items) if place not in chosen)
    return first, tuple(item for place, item in enumerate(items) if place in chosen)


def in_turn(items: Sequence[Item], seed: int) -> list[Item]:
    """One of every class, then another of every class, and so on; which ones is drawn by `seed`."""
    by_class: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        by_class[item.label].append(item)
    for label, own in by_class.items():
        random.Random(f"turn/{seed}/{label}").shuffle(own)
    longest = max((len(own) for own in by_class.values()), default=0)
    return [own[k] for k in range(longest) for _, own in sorted(by_class.items()) if k < len(own)]


def _check_names(name: str, classes: Sequence[str]) -> None:
    if len(classes) < 2:
        raise ChiasmError(f"classify `{name}`", f"it has {len(classes)} classes", "Give at least two")
    first: dict[str, str] = {}
    for label in classes:
        key = normalised(label)
        if not key or key in first:
            found = f"`{first[key]}` and `{label}` read the same" if key else f"`{label}` has no letter"
            raise ChiasmError(f"tell the classes of `{name}` apart", found, "Rename or join them")
        first[key] = label
