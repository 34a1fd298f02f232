"""A domain as a model takes it: prompts and training rows, the frozen tower's features computed once."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, final

import torch

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.core.example import Example
from chiasm.core.media import load_image
from chiasm.data.domains import Domain, Item, classify
from chiasm.models.encoding.encoded import Encoded
from chiasm.models.view import ModelView
from chiasm.training.batches import encode_training, mean_colour, padded_to_square
from chiasm.training.features import PIXELS, Features, reusable, tower_features

_CHUNK = 32


class Usable(NamedTuple):
    """The pictures of a part that can be decoded, and why the others cannot."""

    items: tuple[Item, ...]
    failures: list[tuple[str, str]]


@final
class Rows(Sequence[Encoded]):
    """Encoded examples of one part, made when they are asked for; with `features` nothing is decoded twice."""

    def __init__(
        self, view: ModelView, items: Sequence[Item], prompts: Sequence[str], *, plain: bool, square: bool, learns: bool
    ) -> None:
        self._view, self._items, self._prompts = view, items, prompts
        self._plain, self._square, self._learns = plain, square, learns
        self._made: dict[int, Encoded] = {}
        self._features: Features | None = None

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Encoded:  # type: ignore[override] (rows are asked for one by one)
        if self._features is None:
            return self._encode(index)
        if index not in self._made:
            # Only what is small is kept: the features stay in their file until a batch asks for them.
            encoded = self._encode(index)
            inputs = {name: value for name, value in encoded.inputs.items() if name != PIXELS}
            self._made[index] = replace(encoded, inputs=inputs, images=())
        return self._features.put_into(self._made[index], index, self._view)

    def with_features(self, features: Features) -> "Rows":
        """The same rows with features in place of pixels."""
        made = Rows(self._view, self._items, self._prompts, plain=self._plain, square=self._square, learns=self._learns)
        made._features = features
        return made

    def _encode(self, index: int) -> Encoded:
        item = self._items[index]
        image = item.image if self._square else padded_to_square(item.image, mean_colour(self._view))
        example = Example(id=item.id, question=self._prompts[index], images=(image,), answer=item.label)
        if self._learns:
            return encode_training(self._view, example, plain=self._plain)
        return self._view.encode(example, instruction="")


class Prepared:
    """The pictures of a domain and the tower's features of them; prompts differ by seed."""

    def __init__(self, view: ModelView, domain: Domain, scratch: Path) -> None:
        self.view, self.scratch = view, scratch
        self.train, self.test = _usable(domain.train), _usable(domain.test)
        self.validation = _usable(domain.validation)
        self.domain = replace(domain, train=self.train.items, test=self.test.items, validation=self.validation.items)
        if not self.train.items or not self.test.items:
            raise ChiasmError(f"tune on `{domain.name}`", "no picture of a part can be read", "Check the files")
        self.reused = reusable(view)
        self._features: dict[tuple[str, bool], Features] = {}
        self._rows: dict[tuple[str, int, bool, bool, bool, bool], Rows] = {}

    @property
    def failures(self) -> list[tuple[str, str]]:
        """Pictures that cannot be read, with the reason."""
        return self.train.failures + self.validation.failures + self.test.failures

    def training(self, seed: int, *, plain: bool = False, square: bool = False, pixels: bool = False) -> Rows:
        """Training rows; `pixels`: with pictures, for a tower that trains."""
        return self._part("train", seed, pixels=pixels, plain=plain, square=square, learns=True)

    def testing(self, seed: int, *, part: str = "test", pixels: bool = False, output: bool = False) -> Rows:
        """Test prompts, padded pictures, the classes in an order of their own for every picture.

        `part`: probes ask them of the other parts too.
        """
        return self._part(part, seed, pixels=pixels, output=output)

    def features(self, part: str, square: bool = False) -> Features:
        """The tower's features of a part, computed when first asked for."""
        items = getattr(self.domain, part)
        square = square and any(_uneven(item) for item in items)
        if (part, square) not in self._features:
            path = self.scratch / f"{self.domain.name}-{part}{'-square' if square else ''}.npy"
            self._features[part, square] = features_of(self.view, items, path, square)
        return self._features[part, square]

    def _part(
        self,
        part: str,
        seed: int,
        *,
        pixels: bool,
        plain: bool = False,
        square: bool = False,
        learns: bool = False,
        output: bool = False,
    ) -> Rows:
        key = (part, seed, pixels, plain, square, learns)
        if key not in self._rows:
            domain, items = self.domain, getattr(self.domain, part)
            prompts = [classify(domain.topic, domain.classes, f"{seed}/{item.id}", output) for item in items]
            rows = Rows(self.view, items, prompts, plain=plain, square=square, learns=learns)
            keeps = self.reused and not pixels
            self._rows[key] = rows.with_features(self.features(part, square)) if keeps else rows
        return self._rows[key]


def features_of(view: ModelView, items: Sequence[Item], path: Path, square: bool = False) -> Features:
    """The tower's features of pictures, padded to squares or (`square`) left to be cropped, in the file `path`."""
    processor, colour = view.processor.image_processor, mean_colour(view)

    def pixels(start: int) -> list[torch.Tensor]:
        shown = [
            load_image(i.image) if square else padded_to_square(i.image, colour) for i in items[start : start + _CHUNK]
        ]
        return [processor(image, return_tensors="pt")["pixel_values"] for image in shown]

    chunks = (pixels(start) for start in range(0, len(items), _CHUNK))
    return tower_features(view, chunks, path, len(items))


def caption_rows(view: ModelView, captions: Sequence[Example], features: Features | None) -> Rows:
    """Pictures with their captions as answers, to align a projector on; `features`: of these pictures, if kept."""
    items = caption_items(captions)
    rows = Rows(view, items, [one.question for one in captions], plain=False, square=False, learns=True)
    return rows if features is None else rows.with_features(features)


def caption_items(captions: Sequence[Example]) -> list[Item]:
    """The pictures of captions, each labelled by what is said of it."""
    return [Item(one.id, one.images[0], one.answer) for one in captions]


def _usable(items: Sequence[Item]) -> Usable:
    good, failures = [], []
    for item in items:
        try:
            load_image(item.image)
        except ExampleError as error:
            failures.append((item.id, str(error)))
        else:
            good.append(item)
    return Usable(tuple(good), failures)


def _uneven(item: Item) -> bool:
    picture = load_image(item.image)
    return picture.width != picture.height
