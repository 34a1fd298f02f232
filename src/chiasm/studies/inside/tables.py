"""The tables of "where inside?": attribution on the projector's output, neurons, concepts."""

from collections.abc import Mapping
from typing import Any, Final

from chiasm.core.schema import TableSchema, flag, integer, number, text
from chiasm.results.schemas import EXAMPLE, corners

GRADIENT: Final = "gradient"
UNEMBEDDING: Final = "unembedding"
ENTROPY: Final = "entropy"
"""How neurons are found, in the column `score`."""
RANDOM_ORDER: Final = "random"
"""In the column `order`: the mean over random orders."""

_ABOUT = (
    text("domain", "Domain", "Data that the examples are from; `scenes` are of the general skill."),
    text("setting", "Setting", "What was tuned, and how: `chiasm.training.settings`."),
    integer("seed", "Seed", "Of training and of everything that is drawn."),
    text("projector", "Projector", "`own` is the model's; others were put in and aligned first."),
)
_EXAMPLE = (
    EXAMPLE,
    text("type", "Type", "Question type, or class of the image."),
    text("input", "Input", "Which image it is; questions on one image are no independent draws."),
)
_METHOD = text("method", "Method", "integrated-gradients, gradient-shap, kernel-shap.")
_NULL = "Missing where the example has no box, nothing is attributed positively, or the map does not add up."

ATTRIBUTIONS = TableSchema.of(
    "attributions",
    *_ABOUT,
    *_EXAMPLE,
    text("answer", "Answer", "The text whose log-probability is explained."),
    _METHOD,
    text("baseline", "Baseline", "What stands in place of the image's tokens: mean or grey."),
    number("value", "Target", "Log-probability of the answer (contrast: minus the runner-up's).", unit="nat"),
    number("base_value", "Target, replaced", "The same with every image token replaced.", unit="nat"),
    integer("steps", "Steps", "Points of the path, or samples."),
    number(
        "error",
        "Completeness error",
        "|sum of the map - (value - base_value)| / their distance; of methods along paths the sum over parts of the "
        "paths. A map above 0.05 is withheld.",
    ),
    number("object", "Energy", f"Positive attribution inside the boxes. {_NULL}", nullable=True),
    number("area", "Area", f"Share of the tokens inside the boxes. {_NULL}", nullable=True),
    number(
        "object_swapped",
        "Energy, other maps",
        f"Control: the mean energy of other examples' maps inside these boxes. {_NULL}",
        nullable=True,
    ),
    number("deletion", "Deletion AUC", "Probability of the answer, most important tokens gone first."),
    number("deletion_random", "Deletion AUC, random", "Control: mean over random orders."),
    number("insertion", "Insertion AUC", "Probability, most important tokens put in first."),
    number("insertion_random", "Insertion AUC, random", "Control: mean over random orders."),
)

MAPS = TableSchema.of(
    "attribution_maps",
    *_ABOUT,
    EXAMPLE,
    _METHOD,
    integer("index", "Place", "Place of the token among those of the image, 0-based."),
    number("value", "Attribution", "What the token adds to the target.", unit="nat"),
    text("tile", "Tile", "base (the whole image) or hd (a tile of higher resolution)."),
    *corners(),
)

CURVES = TableSchema.of(
    "attribution_curves",
    *_ABOUT,
    EXAMPLE,
    text("order", "Order", "The method whose order it is, or `random` (mean over draws)."),
    text("kind", "Kind", "deletion or insertion."),
    number("share", "Share", "Of the image's tokens deleted, or put in."),
    number("prob", "Probability", "Of the answer."),
    number("logprob", "Log-probability", "Of the answer.", unit="nat"),
)

MODALITIES = TableSchema.of(
    "modalities",
    *_ABOUT,
    *_EXAMPLE,
    text("method", "Method", "kernel-shap (MM-SHAP) or two-players (exact Shapley values)."),
    number("image", "Image", "Sum of absolute attributions of the image's tokens or groups.", unit="nat"),
    number("text", "Question", "Sum of absolute attributions of the question's tokens.", unit="nat"),
    number("share", "Image share", "image / (image + text)."),
    number("blank", "Image share, blank", "Control: the image's tokens replaced as well."),
)

NEURONS = TableSchema.of(
    "neurons",
    *_ABOUT,
    text("score", "Score", "gradient, unembedding or entropy."),
    integer("rank", "Rank", "By the score, 1 first; of entropy the lowest is first."),
    integer("layer", "Layer", "0-based."),
    integer("neuron", "Neuron", "Its place in what the last projection of the branch reads."),
    number("value", "Value", "Mean over examples of the score; the entropy.", unit="nat"),
    number("low", "Value, low", "95 % bootstrap over examples.", unit="nat", nullable=True),
    number("high", "Value, high", "95 % bootstrap over examples.", unit="nat", nullable=True),
    text("groups", "Groups", "Where it is often active (entropy); empty for other scores."),
    text("words", "Words", "Tokens that its output vector is closest to."),
    integer("n", "Examples", "Behind the score."),
)

ABLATION = TableSchema.of(
    "neuron_ablation",
    *_ABOUT,
    *_EXAMPLE,
    text("score", "Score", "gradient, unembedding or entropy."),
    text("group", "Group", "Whose neurons were taken away (entropy); empty for other scores."),
    flag("own", "Own", "The example belongs to that group; true for other scores."),
    integer("count", "Neurons", "How many were set to zero."),
    number(
        "change",
        "Change",
        "In the target without them (contrast: log-probability of the first token minus the runner-up's).",
        unit="nat",
    ),
    number("change_random", "Change, random", "Control: as many random neurons of the same layers.", unit="nat"),
    integer("draws", "Draws", "Of random neurons, averaged."),
)

SPECIFIC = TableSchema.of(
    "specific_neurons",
    *_ABOUT,
    text("groups", "Groups", "What the neurons are specific to."),
    number("share", "Share", "Of all neurons that is chosen, lowest entropy first."),
    number("edge", "Edge", "The largest entropy among the chosen.", unit="nat"),
    integer("count", "Specific neurons", "With an entropy of at most the edge."),
    number("count_random", "Specific neurons, shuffled", "Control: mean when groups are shuffled."),
    number("low_random", "Shuffled, low", "2.5th percentile over shuffles."),
    number("high_random", "Shuffled, high", "97.5th percentile over shuffles."),
    integer("draws", "Shuffles", "Of examples over groups."),
    integer("n", "Examples", "Whose tokens were counted."),
)

CONCEPTS = TableSchema.of(
    "concepts",
    *_ABOUT,
    text("concept", "Concept", "What its images show, and the others do not."),
    integer("layer", "Layer", "State before this block; 0 is the projector's output."),
    number("value", "TCAV", "Share of examples whose answer grows along the concept's direction."),
    number("low", "TCAV, low", "95 % bootstrap over examples.", nullable=True),
    number("high", "TCAV, high", "95 % bootstrap over examples.", nullable=True),
    number("random", "TCAV, random", "Control: mean over random concepts of as many images."),
    number("random_low", "Random, low", "2.5th percentile over random concepts."),
    number("random_high", "Random, high", "97.5th percentile over random concepts."),
    number("p", "p", "Permuted marks; corrected over layers (max-T) and concepts (Bonferroni)."),
    number("p_published", "p, published", "Kim et al.'s t-test, uncorrected; too small (docs)."),
    number("accuracy", "Accuracy", "Of the direction on images it was not made from; chance 0.5."),
    integer("draws", "Random sets", "That each concept is separated from."),
    integer("concepts", "Random concepts", "Behind random and p."),
    integer("n", "Examples", "Whose answers were followed."),
    integer("pictures", "Images", "Of the concept."),
)

INSIDE = (ATTRIBUTIONS, MAPS, CURVES, MODALITIES, NEURONS, ABLATION, SPECIFIC, CONCEPTS)


def with_about(frames: Mapping[str, list[dict[str, Any]]], about: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The rows of all tables with the columns that say which domain, setting, seed and projector they are of."""
    return {name: [{**about, **row} for row in rows] for name, rows in frames.items() if rows}
