"""The tables of `chiasm align`, and the names of its controls."""

from chiasm.core.schema import Column, TableSchema
from chiasm.results.schemas import EXAMPLE

_SPAN = Column("span", "string", "Span", "", "Which tokens: a named part of the sequence, as image or question.")
_A = Column("a", "string", "First span", "", "Which tokens are compared.")
_B = Column("b", "string", "Second span", "", "With which; [first half] and [second half] are halves of the examples.")
_STATE = Column(
    "layer", "int", "Hidden state", "", "0 is the embeddings, k the output of block k-1 before the final norm."
)
_LAYER = Column("layer", "int", "Layer", "", "Hidden state at the tap residual, else the 0-based block.")
_TAP = Column("tap", "string", "Tap", "", "Where in the block: residual, norm1, attention, ..., down.")
_LOW = Column("low", "float", "Lower bound", "", "Of the 95 % interval; missing where there is none.", nullable=True)
_HIGH = Column("high", "float", "Upper bound", "", "Of the 95 % interval; missing where there is none.", nullable=True)
_N = Column("n", "int", "Examples", "", "How many examples the value rests on.")
_BOUNDS = (_LOW, _HIGH, _N)
_ESTIMATE = (Column("mean", "float", "Mean", "", "Over examples."), *_BOUNDS)

EXTENTS = TableSchema(
    "extents",
    (
        EXAMPLE,
        Column("type", "string", "Question type", "", "Group of the example."),
        _SPAN,
        Column("tokens", "int", "Tokens", "", "How many tokens the span has in this example."),
    ),
)

NORMS = TableSchema(
    "norms",
    (
        _SPAN,
        _STATE,
        Column("statistic", "string", "Statistic", "", "Median, mean, min or max over the tokens of one example."),
        Column("mean", "float", "Norm", "", "Euclidean norm, mean over examples."),
        Column("std", "float", "Spread", "", "Standard deviation over examples; missing for one.", nullable=True),
        _N,
    ),
)

DRIFT = TableSchema(
    "drift",
    (
        _SPAN,
        _STATE,
        Column("gap", "int", "Layers between", "", "The states compared are `layer` and `layer` + `gap`."),
        Column("mean", "float", "Cosine", "", "Of a token with itself `gap` layers later, mean over tokens, examples."),
        *_BOUNDS,
    ),
)

DRIFT_RELEASED = TableSchema(
    "drift_released",
    (
        *(c for c in DRIFT.columns if c.name != "mean"),
        Column("mean", "float", "As released", "", "Cosine of mean tokens, averaged over all pairs of examples."),
        Column("paired", "float", "Paired", "", "The same cosine of each example with itself."),
    ),
)

SIMILARITY = TableSchema(
    "similarity",
    (
        _A,
        _B,
        _LAYER,
        _TAP,
        Column("mode", "string", "Mode", "", "avg: cosine of mean tokens; else a statistic of the token cosines."),
        Column("paired", "bool", "Paired", "", "Both spans of one example, or of two, which may show one image."),
        Column("variant", "string", "Variant", "", "raw, centred by each span's own mean, or no_outliers."),
        *_ESTIMATE,
    ),
)

VOCABULARY = TableSchema(
    "vocabulary",
    (
        _SPAN,
        _STATE,
        Column("quantity", "string", "Quantity", "nat", "entropy, kl, js, cosine or kl_sticky (as released)."),
        Column("against", "string", "Against", "", "The other span, or the later state; empty for entropy."),
        *_ESTIMATE,
    ),
)

INSIDE = TableSchema(
    "inside",
    (
        _SPAN,
        _LAYER,
        _TAP,
        Column("quantity", "string", "Quantity", "", "norm, or change: cosine with the same token one block later."),
        *_ESTIMATE,
    ),
)

_RANK = Column("k", "int", "Rank", "", "A word counts where it is among the k most probable ones of a token.")

HISTOGRAM = TableSchema(
    "histogram",
    (
        _SPAN,
        _STATE,
        _RANK,
        Column("start", "int", "From", "", "First token id of a stretch of the vocabulary."),
        Column("stop", "int", "To", "", "Token id behind its last."),
        Column("share", "float", "Share", "", "Of all words that are counted; stretches without any have no row."),
        _N,
    ),
)

NEAREST = TableSchema(
    "nearest",
    (
        _SPAN,
        _STATE,
        _RANK,
        Column("token_id", "int", "Token", "", "Index in the model's vocabulary."),
        Column("word", "string", "Word", "", "Its text."),
        Column("share", "float", "Share", "", "Of the span's tokens that have it among their k most probable words."),
        _N,
    ),
)

GEOMETRY = TableSchema(
    "geometry",
    (
        _SPAN,
        _STATE,
        Column("quantity", "string", "Quantity", "", "narrowness, effective_rank or cka."),
        Column("against", "string", "Against", "", "The other span of cka; empty otherwise."),
        *_ESTIMATE,
    ),
)

OUTLIERS = TableSchema(
    "outliers",
    (
        _LAYER,
        _TAP,
        Column(
            "outliers",
            "int",
            "Outlier dimensions",
            "",
            "Left out where a variant is called no_outliers: root mean square above six times the median dimension's.",
        ),
        Column("dimensions", "int", "Dimensions", "", "Of all that there are."),
        Column("n", "int", "Examples", "", "Sound examples of the pilot pass, which the rule is applied to."),
    ),
)

MAP = TableSchema(
    "map",
    (
        EXAMPLE,
        _SPAN,
        _STATE,
        Column("method", "string", "Method", "", "pca or tsne, of the mean tokens of all spans together."),
        Column("x", "float", "First axis", "", "Without a unit."),
        Column("y", "float", "Second axis", "", "Without a unit."),
    ),
)

OVERLAP = TableSchema(
    "overlap",
    (
        _A,
        _B,
        Column("layer", "int", "Layer", "", "0-based block."),
        Column("matrix", "string", "Matrix", "", "Name of the matrix within the block."),
        Column("sparsity", "float", "Sparsity", "", "Share of each output row's weights that is left out."),
        Column("iou", "float", "Overlap", "", "Intersection over union of the weights kept by Wanda on either span."),
        Column("null_random", "float", "Random masks", "", "Expected of two independent random masks."),
        Column("null_magnitude", "float", "Magnitude", "", "Mean overlap of either mask with that of magnitude alone."),
        Column(
            "null_permuted",
            "float",
            "Permuted norms",
            "",
            "Overlap when the second span's norms are shuffled, mean of four.",
        ),
        Column("tokens_a", "int", "Tokens, first", "", "How many tokens the first span's norms rest on."),
        Column("tokens_b", "int", "Tokens, second", "", "How many tokens the second span's norms rest on."),
        Column(
            "ceiling", "float", "Ceiling", "", "A span with itself, norms from halves; may be exceeded.", nullable=True
        ),
        Column("low", "float", "Lower bound", "", "Of the overlap's 95 % interval over examples.", nullable=True),
        Column("high", "float", "Upper bound", "", "Of the overlap's 95 % interval over examples.", nullable=True),
        _N,
    ),
)

OVERLAP_TASKS = TableSchema("overlap_tasks", OVERLAP.columns)
OVERLAP_RELEASED = TableSchema("overlap_released", OVERLAP.columns)

SCORE = TableSchema(
    "score",
    (
        Column(
            "name", "string", "Score", "", "ima_0: image as it enters with text at every depth; ima_same: at equal."
        ),
        Column(
            "statistic", "string", "Statistic", "", "mean_token, median_token, or mean_token_all_pairs as published."
        ),
        Column("value", "float", "Value", "", "Cosine, mean over hidden states and examples."),
        *_BOUNDS,
        _A,
        _B,
    ),
)

MEASURED = (
    NORMS,
    DRIFT,
    DRIFT_RELEASED,
    SIMILARITY,
    INSIDE,
    VOCABULARY,
    NEAREST,
    HISTOGRAM,
    GEOMETRY,
    OUTLIERS,
    MAP,
    OVERLAP,
    OVERLAP_TASKS,
    SCORE,
)

# Values of the column `control`, beside that of `RANDOM_WEIGHTS`.
NOISE_TOKENS = "noise"
MODALITY_ISOLATION = "apart"

_CONTROL = Column(
    "control",
    "string",
    "Control",
    "",
    "noise: random tokens for the image; twin: random weights; apart: no attention between them.",
)
TABLES = (EXTENTS, *MEASURED, OVERLAP_RELEASED, *(s.plus(f"{s.name}_controls", _CONTROL) for s in MEASURED))
