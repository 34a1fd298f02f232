"""The facade's `attribute`, `neurons` and `concepts`: where inside the model an answer comes from."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from chiasm.api.shared import Data, Model, data_name, view_of
from chiasm.core.errors import ChiasmError
from chiasm.core.example import DEFAULT_INSTRUCTION, Example
from chiasm.data import examples
from chiasm.models.inside.attribution import ATTRIBUTION_METHODS, AttributionMethod
from chiasm.models.inside.rerun import AttributionTarget
from chiasm.models.view import ModelView
from chiasm.results.images import picture_of
from chiasm.studies.inside.asked import Failures, as_tables, asked_of, background_of, grey_of, with_about
from chiasm.studies.inside.concepts import concept_rows
from chiasm.studies.inside.neurons import NeuronOptions, neuron_rows
from chiasm.studies.inside.report import Inside
from chiasm.studies.inside.run import attributed
from chiasm.studies.inside.spec import Asked, Baseline, Frames, Options

_FEW = 8
"""Pictures from which on their mean is the baseline; below, a picture in one colour is."""


def attribute(
    model: Model,
    data: Data | Example = "scenes",
    *,
    limit: int = 12,
    labelled: bool = False,
    methods: Sequence[AttributionMethod] = ATTRIBUTION_METHODS,
    target: AttributionTarget = "answer",
    baseline: Baseline | None = None,
    background: Data | None = None,
    samples: int = 256,
    orders: int = 10,
    shares: bool = True,
    seed: int = 0,
    instruction: str = DEFAULT_INSTRUCTION,
    device: str | None = None,
    dtype: str | None = None,
) -> Inside:
    """On which of the projector's output vectors the model's answers rest, and whether the maps can be trusted.

    `data`: one example, or what `examples` takes (the first `limit`). The greedy answer is explained; with `labelled`
    the given one. `methods`: integrated-gradients (points are added until it adds up within 5 %), gradient-shap,
    kernel-shap. `target`: `answer`, its log-probability, or `contrast`, minus that of the runner-up. `baseline`: what
    stands in place of the image, the `mean` over `background` (default: the pictures of `data`) or the projector's
    output for a `grey` picture; by default the mean where there are at least 8 pictures. `shares`: also how much
    rests on the image and how much on the question. Only decoder and head are computed again.

    Source: Sundararajan et al. 2017; Lundberg & Lee 2017; Petsiuk et al. 2018; Parcalabescu & Frank 2023.

    **Errors:** `ChiasmError` for quantised or offloaded weights, or when no example is left.
    """
    view, chosen = view_of(model, device, dtype), _chosen(data, limit, seed)
    asked, failures = _asked(view, chosen, labelled, instruction)
    others = chosen if background is None else _chosen(background, None, seed)
    behind = background_of(view, others)
    start: Baseline = baseline or ("mean" if len(behind) >= _FEW else "grey")
    options = Options(
        methods=tuple(methods),
        target=target,
        baseline=start,
        samples=samples,
        orders=orders,
        shares=shares,
        seed=seed,
    )
    grey = grey_of(view, asked) if start == "grey" else None
    frames, failed = attributed(view, asked, behind, options, grey)
    return _told(frames, data, seed, failures + failed, asked)


def neurons(
    model: Model,
    data: Data = "scenes",
    *,
    groups: Mapping[str, Data] | None = None,
    top: int = 10,
    draws: int = 20,
    share: float = 0.01,
    released: bool = False,
    limit: int = 24,
    labelled: bool = False,
    seed: int = 0,
    instruction: str = DEFAULT_INSTRUCTION,
    device: str | None = None,
    dtype: str | None = None,
) -> Inside:
    """Neurons of the decoder that carry pictures into answers, what they write, and what is lost without them.

    By activation times gradient at the image's tokens, and by activation times unembedding (`released`: without the
    final norm's gain). `groups`: pictures by domain or class; neurons that are active in few of them are found by
    entropy. Half of the examples find the `top` neurons, the other half tells what is lost without them and without
    `draws` sets of random ones from the same layers.

    Source: Schwettmann et al. 2023; Pan et al. 2024; Huo et al. 2024.

    **Errors:** `ChiasmError` for models whose feed-forward branches have no plain neurons (experts).
    """
    view, chosen = view_of(model, device, dtype), _chosen(data, limit, seed)
    asked, failures = _asked(view, chosen, labelled, instruction)
    shown = {
        name: [view.encode(replace(one, question="?", boxes=()), instruction="") for one in _chosen(of, limit, seed)]
        for name, of in (groups or {}).items()
    }
    options = NeuronOptions(top=top, draws=draws, share=share, released=released, seed=seed)
    own = data_name(data)
    frames, failed = neuron_rows(view, asked, shown, options, own if own in shown else "")
    return _told(frames, data, seed, failures + failed, asked)


def concepts(
    model: Model,
    concepts: Mapping[str, Sequence[Example]],
    data: Data | Mapping[str, Data] = "scenes",
    *,
    others: Sequence[Example] = (),
    draws: int = 10,
    random: int = 500,
    limit: int = 24,
    labelled: bool = False,
    seed: int = 0,
    instruction: str = DEFAULT_INSTRUCTION,
    device: str | None = None,
    dtype: str | None = None,
) -> Inside:
    """TCAV by layer: do answers grow when the image's tokens move along a concept's direction?

    `concepts`: examples whose pictures show each concept; what it is told from are the pictures of all other concepts
    and `others`. `data`: whose answers are followed, for all concepts or by concept. `random` concepts (sets of as many
    pictures) are the control and the test, corrected over layers and concepts.

    Source: Kim et al. 2018, with a permutation in place of its t-test, which finds random concepts significant.

    **Errors:** `ChiasmError` for a concept that fewer than 4 pictures show.
    """
    view = view_of(model, device, dtype)
    pictures = [*(one for of in concepts.values() for one in of), *others]
    encoded = [view.encode(replace(one, question="?", boxes=()), instruction="") for one in pictures]
    marks, start = {}, 0
    for name, of in concepts.items():
        marks[name] = range(start, start + len(of))
        start += len(of)
    asked: dict[str, list[Asked]] = {}
    failures: Failures = []
    if isinstance(data, Mapping):
        missing = sorted(set(concepts) - set(data))
        if missing:
            raise ChiasmError(f"follow {', '.join(missing)}", "no data are given for it", "Name data for every concept")
        for name in concepts:
            asked[name], failed = _asked(view, _chosen(data[name], limit, seed), labelled, instruction)
            failures += failed
    else:
        followed, failures = _asked(view, _chosen(data, limit, seed), labelled, instruction)
        asked = dict.fromkeys(concepts, followed)
    rows, failed = concept_rows(view, marks, encoded, asked, draws=draws, random=random, seed=seed)
    return _told({"concepts": rows}, "concepts", seed, failures + failed, [])


def _chosen(data: Data | Example, limit: int | None, seed: int) -> list[Example]:
    return [data] if isinstance(data, Example) else list(examples(data, limit, seed))


def _asked(
    view: ModelView, chosen: Sequence[Example], labelled: bool, instruction: str
) -> tuple[list[Asked], Failures]:
    asked, failures = asked_of(view, chosen, instruction=instruction, labelled=labelled)
    if not asked:
        told = "; ".join(sorted({reason for _, reason in failures})) or "there was no example"
        raise ChiasmError("look where inside answers come from", f"nothing is left ({told})", "Change data or options")
    return asked, failures


def _told(frames: Frames, data: Any, seed: int, failures: Failures, asked: Sequence[Asked]) -> Inside:
    named = "example" if isinstance(data, Example) else data_name(data)
    about = {"domain": named, "setting": "as given", "seed": seed, "projector": "own"}
    if not any(frames.values()):
        told = "; ".join(sorted({reason for _, reason in failures}))
        raise ChiasmError("look where inside answers come from", f"nothing is left ({told})", "Change data or options")
    seen = {one.example.id: picture_of(one.example) for one in asked}
    return Inside(as_tables(with_about(frames, about)), seen, failures)
