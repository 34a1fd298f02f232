"""The tables of "where inside?": attribution on the projector's output, neurons, concepts."""

from collections.abc import Mapping
from typing import Any, Final

from chiasm.core.schema import Column, TableSchema
from chiasm.results.schemas import EXAMPLE, corners

GRADIENT: Final = "gradient"
UNEMBEDDING: Final = "unembedding"
ENTROPY: Final = "entropy"
"""How neurons are found, in the column `score`."""
RANDOM_ORDER: Final = "random"
"""In the column `order`: the mean over random orders."""

_ABOUT = (
    Column("domain", "string", "Domain", "", "Data that the examples are from; `scenes` are of the general skill."),
    Column("setting", "string", "Setting", "", "What was tuned, and how: `chiasm.training.settings`."),
    Column("seed", "int", "Seed", "", "Of training and of everything that is drawn."),
    Column("projector", "string", "Projector", "", "`own` is the model's; others were put in and aligned first."),
)
_EXAMPLE = (
    EXAMPLE,
    Column("type", "string", "Type", "", "Question type, or class of the image."),
    Column("input", "string", "Input", "", "Which image it is; questions on one image are no independent draws."),
)
_METHOD = Column("method", "string", "Method", "", "integrated-gradients, gradient-shap, kernel-shap.")
_NULL = "Missing where the example has no box, or nothing is attributed positively."

ATTRIBUTIONS = TableSchema(
    "attributions",
    (
        *_ABOUT,
        *_EXAMPLE,
        Column("answer", "string", "Answer", "", "The text whose log-probability is explained."),
        _METHOD,
        Column("baseline", "string", "Baseline", "", "What stands in place of the image's tokens: mean or grey."),
        Column("value", "float", "Target", "nat", "Log-probability of the answer (contrast: minus the runner-up's)."),
        Column("base_value", "float", "Target, baseline", "nat", "The same with every image token at its baseline."),
        Column("steps", "int", "Steps", "", "Points of the path, or samples."),
        Column("error", "float", "Completeness error", "", "|sum of the map - (value - base_value)| / their distance."),
        Column("object", "float", "Energy", "", f"Positive attribution inside the boxes. {_NULL}", nullable=True),
        Column("area", "float", "Area", "", f"Share of the tokens inside the boxes. {_NULL}", nullable=True),
        Column(
            "object_swapped",
            "float",
            "Energy, other maps",
            "",
            f"Control: the mean energy of other examples' maps inside these boxes. {_NULL}",
            nullable=True,
        ),
        Column("deletion", "float", "Deletion AUC", "", "Probability of the answer, most important tokens gone first."),
        Column("deletion_random", "float", "Deletion AUC, random", "", "Control: mean over random orders."),
        Column("insertion", "float", "Insertion AUC", "", "Probability, most important tokens put in first."),
        Column("insertion_random", "float", "Insertion AUC, random", "", "Control: mean over random orders."),
    ),
)

MAPS = TableSchema(
    "attribution_maps",
    (
        *_ABOUT,
        EXAMPLE,
        _METHOD,
        Column("index", "int", "Place", "", "Place of the token among those of the image, 0-based."),
        Column("value", "float", "Attribution", "nat", "What the token adds to the target."),
        Column("tile", "string", "Tile", "", "base (the whole image) or hd (a tile of higher resolution)."),
        *corners(),
    ),
)

CURVES = TableSchema(
    "attribution_curves",
    (
        *_ABOUT,
        EXAMPLE,
        Column("order", "string", "Order", "", "The method whose order it is, or `random` (mean over draws)."),
        Column("kind", "string", "Kind", "", "deletion or insertion."),
        Column("share", "float", "Share", "", "Of the image's tokens deleted, or put in."),
        Column("prob", "float", "Probability", "", "Of the answer."),
        Column("logprob", "float", "Log-probability", "nat", "Of the answer."),
    ),
)

MODALITIES = TableSchema(
    "modalities",
    (
        *_ABOUT,
        *_EXAMPLE,
        Column("method", "string", "Method", "", "kernel-shap (MM-SHAP) or two-players (exact Shapley values)."),
        Column("image", "float", "Image", "nat", "Sum of absolute attributions of the image's tokens or groups."),
        Column("text", "float", "Question", "nat", "Sum of absolute attributions of the question's tokens."),
        Column("share", "float", "Image share", "", "image / (image + text)."),
        Column("blank", "float", "Image share, blank", "", "Control: the image's tokens replaced by the baseline."),
    ),
)

NEURONS = TableSchema(
    "neurons",
    (
        *_ABOUT,
        Column("score", "string", "Score", "", "gradient, unembedding or entropy."),
        Column("rank", "int", "Rank", "", "By the score, 1 first; of entropy the lowest is first."),
        Column("layer", "int", "Layer", "", "0-based."),
        Column("neuron", "int", "Neuron", "", "Its place in what the last projection of the branch reads."),
        Column("value", "float", "Value", "nat", "Mean over examples of the score; the entropy."),
        Column("low", "float", "Value, low", "nat", "95 % bootstrap over examples.", nullable=True),
        Column("high", "float", "Value, high", "nat", "95 % bootstrap over examples.", nullable=True),
        Column("groups", "string", "Groups", "", "Where it is often active (entropy); empty for other scores."),
        Column("words", "string", "Words", "", "Tokens that its output vector is closest to."),
        Column("n", "int", "Examples", "", "Behind the score."),
    ),
)

ABLATION = TableSchema(
    "neuron_ablation",
    (
        *_ABOUT,
        *_EXAMPLE,
        Column("score", "string", "Score", "", "gradient, unembedding or entropy."),
        Column("group", "string", "Group", "", "Whose neurons were taken away (entropy); empty for other scores."),
        Column("own", "bool", "Own", "", "The example belongs to that group; true for other scores."),
        Column("count", "int", "Neurons", "", "How many were set to zero."),
        Column(
            "change",
            "float",
            "Change",
            "nat",
            "In the target without them (contrast: log-probability of the first token minus the runner-up's).",
        ),
        Column(
            "change_random", "float", "Change, random", "nat", "Control: as many random neurons of the same layers."
        ),
        Column("draws", "int", "Draws", "", "Of random neurons, averaged."),
    ),
)

SPECIFIC = TableSchema(
    "specific_neurons",
    (
        *_ABOUT,
        Column("groups", "string", "Groups", "", "What the neurons are specific to."),
        Column("share", "float", "Share", "", "Of all neurons that is chosen, lowest entropy first."),
        Column("edge", "float", "Edge", "nat", "The largest entropy among the chosen."),
        Column("count", "int", "Specific neurons", "", "With an entropy of at most the edge."),
        Column("count_random", "float", "Specific neurons, shuffled", "", "Control: mean when groups are shuffled."),
        Column("low_random", "float", "Shuffled, low", "", "2.5th percentile over shuffles."),
        Column("high_random", "float", "Shuffled, high", "", "97.5th percentile over shuffles."),
        Column("draws", "int", "Shuffles", "", "Of examples over groups."),
        Column("n", "int", "Examples", "", "Whose tokens were counted."),
    ),
)

CONCEPTS = TableSchema(
    "concepts",
    (
        *_ABOUT,
        Column("concept", "string", "Concept", "", "What its images show, and the others do not."),
        Column("layer", "int", "Layer", "", "State before this block; 0 is the projector's output."),
        Column("value", "float", "TCAV", "", "Share of examples whose answer grows along the concept's direction."),
        Column("low", "float", "TCAV, low", "", "95 % bootstrap over examples.", nullable=True),
        Column("high", "float", "TCAV, high", "", "95 % bootstrap over examples.", nullable=True),
        Column("random", "float", "TCAV, random", "", "Control: mean over random concepts of as many images."),
        Column("random_low", "float", "Random, low", "", "2.5th percentile over random concepts."),
        Column("random_high", "float", "Random, high", "", "97.5th percentile over random concepts."),
        Column("p", "float", "p", "", "Permuted marks; corrected over layers (max-T) and concepts (Bonferroni)."),
        Column("p_published", "float", "p, published", "", "Kim et al.'s t-test, uncorrected; too small (docs)."),
        Column("accuracy", "float", "Accuracy", "", "Of the direction on images it was not made from; chance 0.5."),
        Column("draws", "int", "Random sets", "", "That each concept is separated from."),
        Column("concepts", "int", "Random concepts", "", "Behind random and p."),
        Column("n", "int", "Examples", "", "Whose answers were followed."),
        Column("pictures", "int", "Images", "", "Of the concept."),
    ),
)

INSIDE = (ATTRIBUTIONS, MAPS, CURVES, MODALITIES, NEURONS, ABLATION, SPECIFIC, CONCEPTS)


def with_about(frames: Mapping[str, list[dict[str, Any]]], about: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The rows of all tables with the columns that say which domain, setting, seed and projector they are of."""
    return {name: [{**about, **row} for row in rows] for name, rows in frames.items() if rows}
