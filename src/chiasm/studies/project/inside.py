"""`chiasm project --inside`: attribution, neurons and concepts of every setting, on some of the test images."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, final

from chiasm.core.errors import ExampleError
from chiasm.core.example import DEFAULT_INSTRUCTION, Example
from chiasm.data.domains import Domain, Item, classify
from chiasm.measures.base import RowsByTable
from chiasm.models.encoded import Encoded
from chiasm.models.inside.rerun import require_gradients
from chiasm.models.likelihood import label_tokens
from chiasm.models.view import ModelView
from chiasm.results import images
from chiasm.results.rundir import RunDirectory
from chiasm.studies.inside.attribution import attribution_rows
from chiasm.studies.inside.concepts import MIN_IMAGES, concept_rows
from chiasm.studies.inside.explained import ExplainedAnswer, background_of, encode_image, explained_answers
from chiasm.studies.inside.neurons import neuron_rows
from chiasm.studies.inside.spec import AttributionOptions, ConceptOptions, NeuronOptions
from chiasm.studies.inside.tables import with_about
from chiasm.studies.project.jobs import ProjectInputs
from chiasm.studies.project.scores import UNTUNED
from chiasm.studies.project.tables import OWN
from chiasm.training.batches import mean_colour, padded_to_square

SCENES: Final = "scenes"
_CLASSES, _SHOWN, _FOLLOWED = 4, 12, 8
"""Concepts of a domain, images that each is made from, and test images whose answers are followed along it."""


@final
class InsideStudy:
    """What is measured inside the model while a setting is in force; one seed, the model's own projector.

    Of a domain the label's log-probability is explained, end included; of scenes (untuned model, once) what the model
    answers where it is right.
    """

    def __init__(self, inputs: ProjectInputs) -> None:
        self.spec, self.domains = inputs.spec, inputs.domains
        self.scenes = inputs.scenes[: inputs.spec.inside]

    def rows(self, view: ModelView, domain: Domain, about: dict[str, Any]) -> RowsByTable:
        """Rows of all tables for the setting that `view` is in."""
        if about["seed"] != self.spec.seed or about["projector"] != OWN:
            return {}
        require_gradients(view)
        options = AttributionOptions(seed=self.spec.seed)
        asked = self._asked(view, domain, domain.test[: self.spec.inside])
        behind = background_of(view, [one.example for one in asked])
        frames, _ = attribution_rows(view, asked, behind, options)
        groups = {one.name: self._shown(view, one.test[: self.spec.inside]) for one in self.domains}
        if self.scenes:
            groups[SCENES] = [encode_image(view, one) for one in self.scenes]
        found, _ = neuron_rows(view, asked, groups, NeuronOptions(seed=self.spec.seed), domain.name)
        merged = with_about(frames | found | {"concepts": self._concepts(view, domain)}, about)
        if self.scenes and about["setting"] == UNTUNED and domain.name == self.domains[0].name:
            answered, _ = explained_answers(view, self.scenes, instruction=DEFAULT_INSTRUCTION, right=True)
            if answered:
                more, _ = attribution_rows(view, answered, background_of(view, self.scenes), options)
                for name, rows in with_about(more, about | {"domain": SCENES}).items():
                    merged[name] = merged.get(name, []) + rows
        return merged

    def keep_images(self, view: ModelView, directory: RunDirectory) -> None:
        """Keep the images that maps are drawn over, under `domain/example`."""
        shown = [
            Example(id=f"{domain.name}/{item.id}", question="?", images=(_square(view, item),))
            for domain in self.domains
            for item in domain.test[: self.spec.inside]
        ]
        images.keep(directory, [*shown, *(replace(one, id=f"{SCENES}/{one.id}") for one in self.scenes)])

    def _asked(self, view: ModelView, domain: Domain, items: Sequence[Item]) -> list[ExplainedAnswer]:
        found = []
        for item in items:
            prompt = classify(domain.topic, domain.classes, f"{self.spec.seed}/{item.id}", self.spec.released_prompt)
            shown = Example(id=item.id, question=prompt, images=(_square(view, item),), answer=item.label)
            try:
                tokens = label_tokens(view, shown, [item.label])[0]
                encoded = view.encode(shown, instruction="")
            except ExampleError:
                continue  # recorded where the domain was read
            found.append(ExplainedAnswer(replace(shown, type=item.label), encoded, tokens, item.label))
        return found

    def _shown(self, view: ModelView, items: Sequence[Item]) -> list[Encoded]:
        found = []
        for item in items:
            with suppress(ExampleError):
                shown = Example(id=item.id, question="?", images=(_square(view, item),))
                found.append(view.encode(shown, instruction=""))
        return found

    def _concepts(self, view: ModelView, domain: Domain) -> list[dict[str, Any]]:
        """Each of the first classes is a concept: its training images against those of all classes."""
        items = [item for label in domain.classes for item in _of(domain.train, label)[:_SHOWN]]
        encoded = {item.id: self._shown(view, [item]) for item in items}
        usable = [item for item in items if encoded[item.id]]
        marks: dict[str, list[int]] = {}
        asked: dict[str, list[ExplainedAnswer]] = {}
        for label in domain.classes:
            places = [place for place, item in enumerate(usable) if item.label == label]
            followed = self._asked(view, domain, _of(domain.test, label)[:_FOLLOWED])
            enough = len(places) >= MIN_IMAGES and len(usable) - len(places) >= len(places)
            if enough and followed and len(marks) < _CLASSES:
                marks[label], asked[label] = places, followed
        if not marks:
            return []
        options = ConceptOptions(seed=self.spec.seed)
        rows, _ = concept_rows(view, marks, [encoded[item.id][0] for item in usable], asked, options)
        return rows


def _of(items: Sequence[Item], label: str) -> list[Item]:
    return [item for item in items if item.label == label]


def _square(view: ModelView, item: Item) -> Any:
    return padded_to_square(item.image, mean_colour(view))
