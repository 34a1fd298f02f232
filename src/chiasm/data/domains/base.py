"""What a domain is: images with one label each, in three parts that share none, the classes; its prompt and answers.

Source of the prompt: Verma et al. 2024, section 2. Their parser was not released: the rules here are our own.
"""

import random
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar

from PIL import Image

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Media, require_within
from chiasm.core.media import load_image

T = TypeVar("T")
DomainPart = Literal["train", "validation", "test"]
VALIDATION = 0.1
"""Share of the training images that is held out for validation; the paper names no validation part."""
TEST = 0.2
"""Share of a folder without parts that becomes the test."""

_QUOTES = str.maketrans("", "", "\"'`“”‘’«»*")
_LEADS = ("output", "answer", "label", "class", "category", "classification", "final classification label")


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One image and its label, which is one of the domain's classes.

    `within`: the folder that its file must lie in, which readers set; None: anywhere.
    """

    id: str
    image: Media
    label: str
    within: Path | None = None

    def loaded(self) -> Image.Image:
        """The image.

        **Errors:** `ExampleError` for one that cannot be decoded, or lies outside.
        """
        if self.within is not None and isinstance(self.image, Path):
            require_within(self.image, self.within, "image")
        return load_image(self.image)


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
        """At most `count` images per part, classes in turn; None leaves all.

        **Errors:** `ChiasmError` for less than one.
        """
        if count is None:
            return self
        if count < 1:
            raise ChiasmError(f"take {count} images", "that is none", "Ask for at least one")
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
    """A domain of what a reader found; without a `validation` part one is taken from `train`, class by class.

    Without `classes` these are the labels that occur, in alphabetical order.

    **Errors:** `ChiasmError` for fewer than two classes, classes that the answer parser could not distinguish, a label
    outside `classes`, a repeated id, or a part without images.
    """
    remarks = list(notes)
    found = Counter(item.label for item in (*train, *(validation or ()), *test))
    names = tuple(classes) if classes is not None else tuple(sorted(found))
    _check_names(name, names)
    unknown = sorted(set(found) - set(names))
    if unknown:
        labels = f"{found[unknown[0]]} images are labelled `{unknown[0]}`"
        raise ChiasmError(f"read the domain `{name}`", f"{labels}, which is no class", "Add it to the classes")
    empty = [label for label in names if not found[label]]
    if empty:
        remarks.append(f"classes without an image, left out of the list: {', '.join(empty)}")
        names = tuple(label for label in names if found[label])
    kept = tuple(train)
    if validation is None:
        kept, validation = stratified(train, VALIDATION, seed)
    in_train = Counter(item.label for item in train)
    single = [label for label in names if in_train[label] == 1]
    if single:
        remarks.append(f"classes with one training image, so none for validation: {', '.join(single)}")
    for missing, what in (
        ([label for label in names if not in_train[label]], "training"),
        (sorted(set(names) - {item.label for item in test}), "test"),
    ):
        if missing:
            remarks.append(f"classes without a {what} image: {', '.join(missing)}")
    for part, items in (("train", kept), ("test", test)):
        if not items:
            raise ChiasmError(f"read the domain `{name}`", f"its part `{part}` has no image", "Give it some")
    ids = Counter(item.id for item in (*kept, *validation, *test))
    repeated, times = ids.most_common(1)[0]
    if times > 1:
        raise ChiasmError(f"read the domain `{name}`", f"`{repeated}` occurs {times} times", "Keep one of them")
    return Domain(name, topic, names, kept, tuple(validation), tuple(test), tuple(remarks))


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
        key = plain_label(label)
        if not key or key in first:
            found = f"`{first[key]}` and `{label}` read the same" if key else f"`{label}` has no letter"
            raise ChiasmError(f"distinguish the classes of `{name}`", found, "Rename or join them")
        first[key] = label


def classify(topic: str, classes: Sequence[str], seed: str, output: bool = False) -> str:
    """The paper's prompt with the classes in an order drawn by `seed`, each in double quotes.

    `output`: also the released code's ending, "Output:", which the paper does not show.
    """
    order = random.Random(f"classes/{seed}").sample(list(classes), len(classes))
    listed = ", ".join(f'"{label}"' for label in order)
    asked = (
        f"Classify this image into one of the following categories relating to {topic}: {listed}. "
        "Only output a single final classification label and NOTHING ELSE."
    )
    return f"{asked}\n\nOutput:" if output else asked


def parsed(text: str, classes: Sequence[str]) -> str | None:
    """The class that `text` names; None where it names none or several, which counts as wrong and is reported.

    In order: (1) both sides are plain_label (see `plain_label`), and a lead such as "Output:" is dropped; (2) equal to
    a class; (3) else the classes that occur as whole words, where one that lies inside a longer one that occurs there
    does not count: if exactly one class is left, it is that one.
    """
    names = {plain_label(label): label for label in classes}
    answer = plain_label(re.sub(rf"^\W*(?:{'|'.join(_LEADS)})\s*(?:is)?\s*:", "", text.strip(), flags=re.IGNORECASE))
    if answer in names:
        return names[answer]
    found = set()
    covered = answer
    for name in sorted(names, key=len, reverse=True):
        pattern = rf"(?<!\w){re.escape(name)}(?!\w)"
        if re.search(pattern, covered):
            found.add(names[name])
            covered = re.sub(pattern, "\0", covered)
    return found.pop() if len(found) == 1 else None


def plain_label(text: str) -> str:
    """NFKC, lower case, without quotes; underscores, hyphens and runs of space are one space; no dots at the ends."""
    plain = unicodedata.normalize("NFKC", text).casefold().translate(_QUOTES)
    return re.sub(r"[\s_\-]+", " ", plain).strip(" .,:;!?\n")
