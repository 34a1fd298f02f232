"""From models and examples to tables: attribution, neurons and concepts outside any run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Example
from chiasm.data import examples
from chiasm.measures.base import RowsByTable
from chiasm.models.encoded import Encoded
from chiasm.models.view import ModelView
from chiasm.results.images import picture_of
from chiasm.results.tables import conform
from chiasm.studies.inside.attribution import AttributionBaseline, AttributionOptions, attribution_rows
from chiasm.studies.inside.concepts import concept_rows
from chiasm.studies.inside.explained import (
    ExplainedAnswer,
    Failures,
    background_of,
    encode_image,
    explained_answers,
    grey_of,
)
from chiasm.studies.inside.neurons import NeuronOptions, neuron_rows
from chiasm.studies.inside.report import Inside
from chiasm.studies.inside.tables import INSIDE, with_about
from chiasm.studies.options import Data, data_name

_MIN_BACKGROUND = 8
"""Images from which on their mean is the baseline; below, an image in one colour is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WhichAnswers:
    """Whose answers are explained: the first `limit` examples; the model's own answers, or the `labelled` ones."""

    limit: int
    labelled: bool
    seed: int
    instruction: str

    def examples(self, data: Data | Example) -> list[Example]:
        """The examples of `data`, or the one that it is."""
        return [data] if isinstance(data, Example) else list(examples(data, self.limit, self.seed))

    def explained(self, view: ModelView, chosen: Sequence[Example]) -> tuple[list[ExplainedAnswer], Failures]:
        """The answers to `chosen` examples, and those that failed.

        **Errors:** `ChiasmError` if no example is left.
        """
        found, failures = explained_answers(view, chosen, instruction=self.instruction, labelled=self.labelled)
        if not found:
            raise _nothing_left(failures)
        return found, failures


def attribution(
    view: ModelView,
    data: Data | Example,
    which: WhichAnswers,
    options: AttributionOptions,
    baseline: AttributionBaseline | None,
    background: Data | None,
) -> Inside:
    """Maps, their curves, and how much rests on image and question. `baseline`: None is the mean of enough images."""
    chosen = which.examples(data)
    explained, failures = which.explained(view, chosen)
    behind = background_of(view, chosen if background is None else examples(background, None, which.seed))
    options = replace(options, baseline=baseline or ("mean" if len(behind) >= _MIN_BACKGROUND else "grey"))
    grey = grey_of(view, explained) if options.baseline == "grey" else None
    rows, failed = attribution_rows(view, explained, behind, options, grey)
    return _shown(rows, _name(data), which.seed, failures + failed, explained)


def neurons(
    view: ModelView, data: Data, which: WhichAnswers, groups: Mapping[str, Data], options: NeuronOptions
) -> Inside:
    """Neurons that carry images into answers, those specific to one of `groups`, and what is lost without them."""
    explained, failures = which.explained(view, which.examples(data))
    shown = {name: [encode_image(view, one) for one in which.examples(of)] for name, of in groups.items()}
    own = _name(data)
    rows, failed = neuron_rows(view, explained, shown, options, own if own in shown else "")
    return _shown(rows, own, which.seed, failures + failed, explained)


def concepts(
    view: ModelView,
    concepts: Mapping[str, Sequence[Example]],
    data: Data | Mapping[str, Data],
    which: WhichAnswers,
    others: Sequence[Example],
    *,
    draws: int,
    random: int,
) -> Inside:
    """TCAV of every concept, by layer, along the answers of `data` (for all concepts, or by concept)."""
    images: list[Encoded] = []
    marks: dict[str, range] = {}
    for name, of in concepts.items():
        marks[name] = range(len(images), len(images) + len(of))
        images += [encode_image(view, one) for one in of]
    images += [encode_image(view, one) for one in others]
    followed: dict[str, list[ExplainedAnswer]] = {}
    failures: Failures = []
    if isinstance(data, Mapping):
        missing = sorted(set(concepts) - set(data))
        if missing:
            raise ChiasmError(f"follow {', '.join(missing)}", "no data are given for it", "Name data for every concept")
        for name in concepts:
            followed[name], failed = which.explained(view, which.examples(data[name]))
            failures += failed
    else:
        explained, failures = which.explained(view, which.examples(data))
        followed = dict.fromkeys(concepts, explained)
    rows, failed = concept_rows(view, marks, images, followed, draws=draws, random=random, seed=which.seed)
    return _shown({"concepts": rows}, "concepts", which.seed, failures + failed, [])


def _name(data: Data | Example) -> str:
    return "example" if isinstance(data, Example) else data_name(data) or ""


def _shown(
    rows: RowsByTable, domain: str, seed: int, failures: Failures, explained: Sequence[ExplainedAnswer]
) -> Inside:
    """The rows as the tables that a run would write, with the images that maps are drawn over."""
    if not any(rows.values()):
        raise _nothing_left(failures)
    about = {"domain": domain, "setting": "as given", "seed": seed, "projector": "own"}
    whole = with_about(rows, about)
    tables = {schema.name: conform(schema, whole[schema.name]) for schema in INSIDE if schema.name in whole}
    return Inside(tables, {one.example.id: picture_of(one.example) for one in explained}, failures)


def _nothing_left(failures: Failures) -> ChiasmError:
    reasons = "; ".join(sorted({reason for _, reason in failures})) or "there was no example"
    return ChiasmError("look where inside answers come from", f"nothing is left ({reasons})", "Change data or options")
