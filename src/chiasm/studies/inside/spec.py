"""What can be asked about the inside of a model: the options of `chiasm.attribute`, `neurons` and `concepts`."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Literal

from chiasm.core.example import Example
from chiasm.core.options import MISSING, Section, example_option, option
from chiasm.models.inside.methods import ATTRIBUTION_METHODS, AttributionMethod, AttributionTarget
from chiasm.studies.options import (
    Data,
    FunctionOptions,
    LoadingOptions,
    Model,
    ReadingOptions,
    data_option,
    seed_option,
    studied_option,
)

Replacement = Literal["mean", "grey"]
"""What stands in place of the image's tokens; the column `baseline`."""


@dataclass(frozen=True, kw_only=True)
class AnswerOptions(ReadingOptions, LoadingOptions):
    """Whose answers are explained."""

    limit: int | None = example_option(24, "Use the first so many examples; None for all.", at_least=1)
    labelled: bool = example_option(False, "Explain the answers of the data, not the model's own (greedy) ones.")


@dataclass(frozen=True, kw_only=True)
class AttributionOptions(FunctionOptions):
    """How attribution is computed."""

    methods: Sequence[AttributionMethod] = option(
        ATTRIBUTION_METHODS,
        "integrated-gradients (points are added until it adds up within 5 %), gradient-shap, kernel-shap.",
    )
    target: AttributionTarget = option(
        "answer", "What is explained: the answer's log-probability, or (`contrast`) minus that of the runner-up."
    )
    samples: int = option(256, "Coalitions that Kernel SHAP evaluates.", at_least=1)
    orders: int = option(10, "Random orders beside the curves of every map.", at_least=1)
    shares: bool = option(True, "Also how much rests on the image and how much on the question.")
    seed: int = seed_option()


@dataclass(frozen=True)
class AttributeSpec(AttributionOptions, AnswerOptions):
    """On which of the projector's output vectors the model's answers rest, and whether the maps can be trusted.

    Only decoder and head are computed again. Zeros do not stand in place of the image: a norm makes the same of every
    point on the way from there, and jumps at its start.

    Source: Sundararajan et al. 2017; Lundberg & Lee 2017; Petsiuk et al. 2018; Parcalabescu & Frank 2023.

    **Errors:** `ChiasmError` for quantised or offloaded weights, or when no example is left.
    """

    model: Model = studied_option()
    data: Data | Example = data_option(
        "One example, or what `chiasm.examples` takes.", "scenes", section=Section.EXAMPLES, positional=True
    )
    _: KW_ONLY
    limit: int | None = example_option(12, "Use the first so many examples; None for all.", at_least=1)
    replacement: Replacement | None = option(
        None,
        "What stands in place of the image: the `mean` over `background`, or the projector's output for a `grey` "
        "image. Default: the mean where there are at least 8 images.",
        formerly=("baseline",),
    )
    background: Data | None = data_option(
        "Examples whose images the mean is over. Default: those of `data`.", section=Section.EXAMPLES
    )


@dataclass(frozen=True, kw_only=True)
class NeuronOptions(FunctionOptions):
    """How neurons are found, and judged."""

    top: int = option(10, "Neurons that are listed, and taken away together.", at_least=1)
    draws: int = option(20, "Sets of random neurons beside them, and shuffles of groups.", at_least=1)
    share: float = option(
        0.01, "Of all neurons that count as specific to a group; 1 % in the source.", above=0, at_most=1
    )
    released: bool = option(False, "Score by unembedding without the final norm's gain, as the released code.")
    seed: int = seed_option()


@dataclass(frozen=True)
class NeuronsSpec(NeuronOptions, AnswerOptions):
    """Neurons of the decoder that carry images into answers, what they write, and what is lost without them.

    By activation times gradient at the image's tokens, and by activation times unembedding; neurons that are active in
    few of several groups are found by entropy. Half of the examples find the neurons, the other half judges what is
    lost without them, and without random ones from the same layers.

    Source: Schwettmann et al. 2023; Pan et al. 2024; Huo et al. 2024.

    **Errors:** `ChiasmError` for models whose feed-forward branches have no plain neurons (experts), and for fewer than
    four examples.
    """

    model: Model = studied_option()
    data: Data = data_option("What `chiasm.examples` takes.", "scenes", section=Section.EXAMPLES, positional=True)
    _: KW_ONLY
    groups: Mapping[str, Data] | None = example_option(None, "Images by domain or class, for neurons of few of them.")


@dataclass(frozen=True, kw_only=True)
class ConceptOptions(FunctionOptions):
    """How the direction of a concept is tested."""

    draws: int = option(10, "Random sets of other images that each concept is separated from.", at_least=1)
    random: int = option(500, "Random concepts: sets of as many images, the control and the test.", at_least=1)
    seed: int = seed_option()


@dataclass(frozen=True)
class ConceptsSpec(ConceptOptions, AnswerOptions):
    """TCAV by layer: do answers grow when the image's tokens move along a concept's direction?

    The direction of a concept separates its images from those of all other concepts and of `others`. p-values are
    corrected over layers and concepts.

    Source: Kim et al. 2018, with a permutation in place of its t-test, which finds random concepts significant.

    **Errors:** `ChiasmError` for a concept that fewer than 4 images show.
    """

    model: Model = studied_option()
    concepts: Mapping[str, Sequence[Example]] = example_option(
        MISSING, "Examples whose images show each concept.", positional=True
    )
    data: Data | Mapping[str, Data] = data_option(
        "Whose answers are followed, for all concepts or by concept: what `chiasm.examples` takes.",
        "scenes",
        section=Section.EXAMPLES,
        positional=True,
    )
    _: KW_ONLY
    others: Sequence[Example] = example_option((), "Examples whose images show none of the concepts.")
