"""The tables of `chiasm prune`."""

from chiasm.core.schema import TableSchema, flag, integer, number, text
from chiasm.results.schemas import CONTROL, EXAMPLE, EXAMPLES, TYPE

_MASK = (
    text("mask", "Mask", "dense, wanda, magnitude, random or a variant; a combination; an ablation."),
    text("calibration", "Calibrated on", "A question type, all, image or text tokens, types, modalities, none."),
)
_WHERE = (
    number("sparsity", "Sparsity", "Share of the masked matrices' weights that is zero; 0 is dense."),
    text("pattern", "Pattern", "unstructured (per output row), or N:M along the inputs."),
    text("part", "Part", "Which matrices are masked: all, ffn or attention."),
)

PRUNED = TableSchema.of(
    "pruned",
    EXAMPLE,
    TYPE,
    *_MASK,
    *_WHERE,
    text("answer", "Answer", "The labelled answer."),
    text("written", "As written", "It as given, lower or capital: most probable without a mask."),
    text("generated", "Generated", "The greedy answer under the mask."),
    flag("correct", "Correct", "Equal after stripping and lower-casing."),
    number("logprob", "Log-probability", "Of the whole answer as written, teacher-forced.", unit="nat"),
    integer("tokens", "Tokens", "Tokens of the answer as written."),
)

MASKS = TableSchema.of(
    "masks",
    *_MASK,
    text("evaluation", "Evaluated on", "Question type of the evaluation examples, or all."),
    *_WHERE,
    number("score", "Score", "Share of right greedy answers."),
    number("low", "Low", "Lower bound of the score's 95 % Wilson interval.", nullable=True),
    number("high", "High", "Upper bound of the score's 95 % Wilson interval.", nullable=True),
    number("perplexity", "Perplexity", "exp of the mean negative log-probability per answer token."),
    number("perplexity_low", "Perplexity, low", "95 % bootstrap over inputs.", nullable=True),
    number("perplexity_high", "Perplexity, high", "95 % bootstrap over inputs.", nullable=True),
    integer("n", "Examples", "Evaluation examples; none of them is a calibration example."),
    number("max_loss", "Loss allowed", "Share of right answers that may be lost.", nullable=True),
)

SIZES = TableSchema.of(
    "sizes",
    *_WHERE,
    integer("weights", "Weights", "In the matrices that are masked."),
    integer("zeroed", "Zeroed", "Of these, by every mask of the level."),
    integer("parameters", "Parameters", "Of the whole model, embeddings and tower included."),
    integer("bytes", "Bytes", "That these take as they are loaded."),
    integer(
        "bytes_saved", "Bytes saved", "Where zeros are not stored, and places take one bit a weight; below 0: more."
    ),
    number(
        "operations_share", "Operations", "Share of a token's products with the decoder layers' weights that are 0."
    ),
)

PRUNED_CONTROLS = PRUNED.plus("pruned_controls", CONTROL)
MASKS_CONTROLS = MASKS.plus("masks_controls", CONTROL)
TABLES = (EXAMPLES, PRUNED, MASKS, SIZES, PRUNED_CONTROLS, MASKS_CONTROLS)

# What `calibration` holds beside the names of question types.
POOLED, UNCALIBRATED = "all", "none"
IMAGE_TOKENS, TEXT_TOKENS = "image tokens", "text tokens"
TYPES, MODALITIES = "types", "modalities"  # where masks of several are combined
DENSE = "dense"

SMALLEST = 1.0
"""Smallest difference of right answers worth naming, in points."""
