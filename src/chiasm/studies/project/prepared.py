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
from chiasm.models.encoded import Encoded
from chiasm.models.view import ModelView
from chiasm.training.batches import encode_training, mean_colour, padded_to_square
from chiasm.training.features import PIXELS, TowerFeatures, reusable, tower_features

_CHUNK = 32


class RowForm(NamedTuple):
    """`plain`, `square`: as in `TuningSetting`; `learns`: the label stands behind the prompt as what is learned."""

    plain: bool = False
    square: bool = False
    learns: bool = False


@final
class EncodedRows(Sequence[Encoded]):
    """Encoded examples of one part, made when they are asked for; with `features` nothing is decoded twice."""

    def __init__(
        self,
        view: ModelView,
        items: Sequence[Item],
        prompts: Sequence[str],
        features: TowerFeatures | None,
        form: RowForm,
    ) -> None:
        self._view, self._items, self._prompts, self._features, self._form = view, items, prompts, features, form
        self._made: dict[int, Encoded] = {}

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

    def _encode(self, index: int) -> Encoded:
        item = self._items[index]
        image = item.image if self._form.square else padded_to_square(item.image, mean_colour(self._view))
        example = Example(id=item.id, question=self._prompts[index], images=(image,), answer=item.label)
        if self._form.learns:
            return encode_training(self._view, example, plain=self._form.plain)
        return self._view.encode(example, instruction="")


class PreparedDomain:
    """The images of a domain and the tower's features of them; prompts differ by seed. What cannot be read is left out.

    `failures`: images that cannot be read, with the reason.
    """

    def __init__(self, view: ModelView, domain: Domain, scratch: Path) -> None:
        self.view, self.scratch = view, scratch
        self.failures: list[tuple[str, str]] = []
        train, validation, test = (self._readable(part) for part in (domain.train, domain.validation, domain.test))
        self.domain = replace(domain, train=train, validation=validation, test=test)
        if not train or not test:
            raise ChiasmError(f"tune on `{domain.name}`", "no image of a part can be read", "Check the files")
        self.reused = reusable(view)
        self._features: dict[tuple[str, bool], TowerFeatures] = {}
        self._rows: dict[tuple[str, int, bool, RowForm], EncodedRows] = {}

    def training(self, seed: int, *, plain: bool = False, square: bool = False, pixels: bool = False) -> EncodedRows:
        """Training rows; `pixels`: with images, for a tower that trains."""
        return self._part("train", seed, RowForm(plain, square, learns=True), pixels)

    def testing(
        self, seed: int, *, part: str = "test", pixels: bool = False, released_prompt: bool = False
    ) -> EncodedRows:
        """Test prompts, padded images, the classes in an order of their own for every image.

        `part`: probes ask them of the other parts too.
        """
        return self._part(part, seed, RowForm(), pixels, released_prompt)

    def features(self, part: str, square: bool = False) -> TowerFeatures:
        """The tower's features of a part, computed when first asked for."""
        items = getattr(self.domain, part)
        square = square and any(_uneven(item) for item in items)
        if (part, square) not in self._features:
            path = self.scratch / f"{self.domain.name}-{part}{'-square' if square else ''}.npy"
            self._features[part, square] = features_of(self.view, items, path, square)
        return self._features[part, square]

    def _part(self, part: str, seed: int, form: RowForm, pixels: bool, released_prompt: bool = False) -> EncodedRows:
        key = (part, seed, pixels, form)
        if key not in self._rows:
            domain, items = self.domain, getattr(self.domain, part)
            names = (f"{seed}/{item.id}" for item in items)
            prompts = [classify(domain.topic, domain.classes, name, released_prompt) for name in names]
            features = self.features(part, form.square) if self.reused and items and not pixels else None
            self._rows[key] = EncodedRows(self.view, items, prompts, features, form)
        return self._rows[key]

    def _readable(self, items: Sequence[Item]) -> tuple[Item, ...]:
        found = []
        for item in items:
            try:
                item.loaded()
            except ExampleError as error:
                self.failures.append((item.id, str(error)))
            else:
                found.append(item)
        return tuple(found)


def features_of(view: ModelView, items: Sequence[Item], path: Path, square: bool = False) -> TowerFeatures:
    """The tower's features of images, padded to squares or (`square`) left to be cropped, in the file `path`."""
    processor, colour = view.processor.image_processor, mean_colour(view)

    def pixels(start: int) -> list[torch.Tensor]:
        shown = [
            load_image(i.image) if square else padded_to_square(i.image, colour) for i in items[start : start + _CHUNK]
        ]
        return [processor(image, return_tensors="pt")["pixel_values"] for image in shown]

    chunks = (pixels(start) for start in range(0, len(items), _CHUNK))
    return tower_features(view, chunks, path, len(items))


def caption_rows(view: ModelView, captions: Sequence[Example], features: TowerFeatures | None) -> EncodedRows:
    """Images with their captions as answers, to align a projector on; `features`: of these images, if kept."""
    return EncodedRows(
        view, caption_items(captions), [one.question for one in captions], features, RowForm(learns=True)
    )


def caption_items(captions: Sequence[Example]) -> list[Item]:
    """The images of captions, each labelled by its caption."""
    return [Item(one.id, one.images[0], one.answer) for one in captions]


def _uneven(item: Item) -> bool:
    image = load_image(item.image)
    return image.width != image.height
