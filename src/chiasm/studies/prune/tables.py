"""The tables of `chiasm prune`."""

from chiasm.core.schema import Column, TableSchema
from chiasm.results.schemas import CONTROL, EXAMPLE, EXAMPLES, TYPE

_MASK = (
    Column("mask", "string", "Mask", "", "dense, wanda, magnitude, random or a variant; a combination; an ablation."),
    Column(
        "calibration",
        "string",
        "Calibrated on",
        "",
        "A question type, all, image or text tokens, types, modalities, none.",
    ),
)
_WHERE = (
    Column("sparsity", "float", "Sparsity", "", "Share of the masked matrices' weights that is zero; 0 is dense."),
    Column("pattern", "string", "Pattern", "", "unstructured (per output row), or N:M along the inputs."),
    Column("part", "string", "Part", "", "Which matrices are masked: all, ffn or attention."),
)

PRUNED = TableSchema.of(
    "pruned",
    EXAMPLE,
    TYPE,
    *_MASK,
    *_WHERE,
    Column("answer", "string", "Answer", "", "The labelled answer."),
    Column("written", "string", "As written", "", "It as given, lower or capital: most probable without a mask."),
    Column("generated", "string", "Generated", "", "The greedy answer under the mask."),
    Column("correct", "bool", "Correct", "", "Equal after stripping and lower-casing."),
    Column("logprob", "float", "Log-probability", "nat", "Of the whole answer as written, teacher-forced."),
    Column("tokens", "int", "Tokens", "", "Tokens of the answer as written."),
)

MASKS = TableSchema.of(
    "masks",
    *_MASK,
    Column("evaluation", "string", "Evaluated on", "", "Question type of the evaluation examples, or all."),
    *_WHERE,
    Column("score", "float", "Score", "", "Share of right greedy answers."),
    Column("low", "float", "Low", "", "Lower bound of the score's 95 % Wilson interval.", nullable=True),
    Column("high", "float", "High", "", "Upper bound of the score's 95 % Wilson interval.", nullable=True),
    Column("perplexity", "float", "Perplexity", "", "exp of the mean negative log-probability per answer token."),
    Column("perplexity_low", "float", "Perplexity, low", "", "95 % bootstrap over inputs.", nullable=True),
    Column("perplexity_high", "float", "Perplexity, high", "", "95 % bootstrap over inputs.", nullable=True),
    Column("n", "int", "Examples", "", "Evaluation examples; none of them is a calibration example."),
)

PRUNED_CONTROLS = PRUNED.plus("pruned_controls", CONTROL)
MASKS_CONTROLS = MASKS.plus("masks_controls", CONTROL)
TABLES = (EXAMPLES, PRUNED, MASKS, PRUNED_CONTROLS, MASKS_CONTROLS)

# What `calibration` holds beside the names of question types.
POOLED, UNCALIBRATED = "all", "none"
IMAGE_TOKENS, TEXT_TOKENS = "image tokens", "text tokens"
TYPES, MODALITIES = "types", "modalities"  # where masks of several are combined
DENSE = "dense"
