"""From models and examples to tables: attribution, neurons and concepts outside any run."""

from collections.abc import Mapping, Sequence

from chiasm.core.errors import ChiasmError
from chiasm.core.example import Example
from chiasm.data import examples
from chiasm.measures.base import RowsByTable
from chiasm.models.encoded import Encoded
from chiasm.models.view import ModelView
from chiasm.results.images import kept_image
from chiasm.results.tables import conform
from chiasm.studies.inputs import limit_of, view_of
from chiasm.studies.inside.attribution import attribution_rows
from chiasm.studies.inside.concepts import concept_rows
from chiasm.studies.inside.explained import (
    ExplainedAnswer,
    Failures,
    background_of,
    encode_image,
    explained_answers,
    grey_of,
)
from chiasm.studies.inside.neurons import neuron_rows
from chiasm.studies.inside.report import Inside
from chiasm.studies.inside.spec import AnswerOptions, AttributeSpec, ConceptsSpec, NeuronsSpec
from chiasm.studies.inside.tables import INSIDE, with_about
from chiasm.studies.options import Data, data_name

_MIN_BACKGROUND = 8
"""Images from which on their mean stands in place of one; below, an image in one colour does."""


def attribute(spec: AttributeSpec) -> Inside:
    """Maps, their curves, and how much rests on image and question."""
    view = view_of(spec.model, spec)
    chosen = [spec.data] if isinstance(spec.data, Example) else _read(spec, spec.data, spec.limit)
    explained, failures = _explained(view, chosen, spec)
    behind = background_of(view, chosen if spec.background is None else _read(spec, spec.background, None))
    replacement = spec.replacement or ("mean" if len(behind) >= _MIN_BACKGROUND else "grey")
    grey = grey_of(view, explained) if replacement == "grey" else None
    rows, failed = attribution_rows(view, explained, behind, spec, grey)
    return _shown(rows, _name(spec.data), spec.seed, failures + failed, explained)


def neurons(spec: NeuronsSpec) -> Inside:
    """Neurons that carry images into answers, those specific to one of the groups, and what is lost without them."""
    view = view_of(spec.model, spec)
    explained, failures = _explained(view, _read(spec, spec.data, spec.limit), spec)
    groups = spec.groups or {}
    shown = {name: [encode_image(view, one) for one in _read(spec, of, spec.limit)] for name, of in groups.items()}
    own = _name(spec.data)
    rows, failed = neuron_rows(view, explained, shown, spec, own if own in shown else "")
    return _shown(rows, own, spec.seed, failures + failed, explained)


def concepts(spec: ConceptsSpec) -> Inside:
    """TCAV of every concept, by layer, along the answers of the data (for all concepts, or by concept)."""
    view = view_of(spec.model, spec)
    images: list[Encoded] = []
    marks: dict[str, range] = {}
    for name, of in spec.concepts.items():
        marks[name] = range(len(images), len(images) + len(of))
        images += [encode_image(view, one) for one in of]
    images += [encode_image(view, one) for one in spec.others]
    followed: dict[str, list[ExplainedAnswer]] = {}
    failures: Failures = []
    if isinstance(spec.data, Mapping):
        missing = sorted(set(spec.concepts) - set(spec.data))
        if missing:
            raise ChiasmError(f"follow {', '.join(missing)}", "no data are given for it", "Name data for every concept")
        for name in spec.concepts:
            followed[name], failed = _explained(view, _read(spec, spec.data[name], spec.limit), spec)
            failures += failed
    else:
        explained, failures = _explained(view, _read(spec, spec.data, spec.limit), spec)
        followed = dict.fromkeys(spec.concepts, explained)
    rows, failed = concept_rows(view, marks, images, followed, spec)
    return _shown({"concepts": rows}, "concepts", spec.seed, failures + failed, [])


def _explained(
    view: ModelView, chosen: Sequence[Example], spec: AnswerOptions
) -> tuple[list[ExplainedAnswer], Failures]:
    """The answers to `chosen` examples, and those that failed.

    **Errors:** `ChiasmError` if no example is left.
    """
    found, failures = explained_answers(view, chosen, instruction=spec.instruction, labelled=spec.labelled)
    if not found:
        raise _nothing_left(failures)
    return found, failures


def _read(spec: AnswerOptions, data: Data, limit: int | None) -> list[Example]:
    """The first `limit` examples, or all; of data without end, as many as studies take."""
    return list(
        examples(data, limit_of(data, limit), spec.seed, spec.split, spec.media, allow_outside=spec.allow_outside)
    )


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
    return Inside(tables, {one.example.id: kept_image(one.example) for one in explained}, failures)


def _nothing_left(failures: Failures) -> ChiasmError:
    reasons = "; ".join(sorted({reason for _, reason in failures})) or "there was no example"
    return ChiasmError("look where inside answers come from", f"nothing is left ({reasons})", "Change data or options")
