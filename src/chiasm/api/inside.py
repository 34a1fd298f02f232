"""`chiasm.attribute`, `chiasm.neurons` and `chiasm.concepts`: where inside the model an answer comes from."""

from collections.abc import Mapping, Sequence

from chiasm.core.example import DEFAULT_INSTRUCTION, Example
from chiasm.models.inside.attribution import ATTRIBUTION_METHODS, AttributionMethod
from chiasm.models.inside.rerun import AttributionTarget
from chiasm.models.view import ModelView
from chiasm.studies.inputs import load
from chiasm.studies.inside import run
from chiasm.studies.inside.attribution import AttributionBaseline, AttributionOptions
from chiasm.studies.inside.neurons import NeuronOptions
from chiasm.studies.inside.report import Inside
from chiasm.studies.options import Data, Model


def attribute(
    model: Model,
    data: Data | Example = "scenes",
    *,
    limit: int = 12,
    labelled: bool = False,
    methods: Sequence[AttributionMethod] = ATTRIBUTION_METHODS,
    target: AttributionTarget = "answer",
    baseline: AttributionBaseline | None = None,
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
    stands in place of the image, the `mean` over `background` (default: the images of `data`) or the projector's
    output for a `grey` image; by default the mean where there are at least 8 images. `shares`: also how much rests on
    the image and how much on the question. Only decoder and head are computed again.

    Source: Sundararajan et al. 2017; Lundberg & Lee 2017; Petsiuk et al. 2018; Parcalabescu & Frank 2023.

    **Errors:** `ChiasmError` for quantised or offloaded weights, or when no example is left.
    """
    options = AttributionOptions(
        methods=tuple(methods), target=target, samples=samples, orders=orders, shares=shares, seed=seed
    )
    which = run.WhichAnswers(limit=limit, labelled=labelled, seed=seed, instruction=instruction)
    return run.attribution(_view_of(model, device, dtype), data, which, options, baseline, background)


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
    """Neurons of the decoder that carry images into answers, what they write, and what is lost without them.

    By activation times gradient at the image's tokens, and by activation times unembedding (`released`: without the
    final norm's gain). `groups`: images by domain or class; neurons that are active in few of them are found by
    entropy. Half of the examples find the `top` neurons, the other half judges what is lost without them and without
    `draws` sets of random ones from the same layers.

    Source: Schwettmann et al. 2023; Pan et al. 2024; Huo et al. 2024.

    **Errors:** `ChiasmError` for models whose feed-forward branches have no plain neurons (experts).
    """
    options = NeuronOptions(top=top, draws=draws, share=share, released=released, seed=seed)
    which = run.WhichAnswers(limit=limit, labelled=labelled, seed=seed, instruction=instruction)
    return run.neurons(_view_of(model, device, dtype), data, which, groups or {}, options)


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

    `concepts`: examples whose images show each concept; its direction separates them from the images of all other
    concepts and of `others`. `data`: whose answers are followed, for all concepts or by concept. `random` concepts
    (sets of as many images) are the control and the test, corrected over layers and concepts.

    Source: Kim et al. 2018, with a permutation in place of its t-test, which finds random concepts significant.

    **Errors:** `ChiasmError` for a concept that fewer than 4 images show.
    """
    which = run.WhichAnswers(limit=limit, labelled=labelled, seed=seed, instruction=instruction)
    return run.concepts(_view_of(model, device, dtype), concepts, data, which, others, draws=draws, random=random)


def _view_of(model: Model, device: str | None, dtype: str | None) -> ModelView:
    return model if isinstance(model, ModelView) else load(str(model), device=device, dtype=dtype)
