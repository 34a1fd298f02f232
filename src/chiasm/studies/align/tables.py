"""The tables of `chiasm align`, and the names of its controls."""

from chiasm.core.schema import TableSchema, flag, integer, number, text
from chiasm.results.schemas import EXAMPLE

_SPAN = text("span", "Span", "Which tokens: a named part of the sequence, as image or question.")
_A = text("a", "First span", "Which tokens are compared.")
_B = text("b", "Second span", "With which; [first half] and [second half] are halves of the examples.")
_STATE = integer("layer", "Hidden state", "0 is the embeddings, k the output of block k-1 before the final norm.")
_LAYER = integer("layer", "Layer", "Hidden state where `tap` is residual, else the 0-based block.")
_TAP = text("tap", "Place in the block", "Where it is read: residual, norm1, attention, ..., down.")
_LOW = number("low", "Lower bound", "Of the 95 % interval; missing where there is none.", nullable=True)
_HIGH = number("high", "Upper bound", "Of the 95 % interval; missing where there is none.", nullable=True)
_N = integer("n", "Examples", "How many examples the value rests on.")
_BOUNDS = (_LOW, _HIGH, _N)
_ESTIMATE = (number("mean", "Mean", "Over examples."), *_BOUNDS)

EXTENTS = TableSchema.of(
    "extents",
    EXAMPLE,
    text("type", "Question type", "Group of the example."),
    _SPAN,
    integer("tokens", "Tokens", "How many tokens the span has in this example."),
    text(
        "input", "Input", "Which image (video, sound) the example asks about; those with the same are drawn together."
    ),
    flag("controlled", "With controls", "Whether the controls were run on this example."),
)

NORMS = TableSchema.of(
    "norms",
    _SPAN,
    _STATE,
    text("statistic", "Statistic", "Median, mean, min or max over the tokens of one example."),
    number("mean", "Norm", "Euclidean norm, mean over examples."),
    number("std", "Spread", "Standard deviation over examples; missing for one.", nullable=True),
    _N,
)

DRIFT = TableSchema.of(
    "drift",
    _SPAN,
    _STATE,
    integer("gap", "Layers between", "The states compared are `layer` and `layer` + `gap`."),
    number("mean", "Cosine", "Of a token with itself `gap` layers later, mean over tokens, examples."),
    *_BOUNDS,
)

DRIFT_RELEASED = TableSchema.of(
    "drift_released",
    *(c for c in DRIFT.columns if c.name != "mean"),
    number("mean", "As released", "Cosine of mean tokens, averaged over all pairs of examples."),
    number("paired", "Paired", "The same cosine of each example with itself."),
)

SIMILARITY = TableSchema.of(
    "similarity",
    _A,
    _B,
    _LAYER,
    _TAP,
    text("mode", "Mode", "avg: cosine of mean tokens; else a statistic of the token cosines."),
    flag("paired", "Paired", "Both spans of one example, or of two, which may show one image."),
    text("variant", "Variant", "raw, centred by each span's own mean, or no_outliers."),
    *_ESTIMATE,
)

VOCABULARY = TableSchema.of(
    "vocabulary",
    _SPAN,
    _STATE,
    text(
        "quantity",
        "Quantity",
        "entropy, kl, js, cosine or kl_sticky (as released), over all rows of the head, also those without a token.",
        unit="nat",
    ),
    text("against", "Against", "The other span, or the later state; empty for entropy."),
    *_ESTIMATE,
)

VOCABULARY_NULL = TableSchema.of(
    "vocabulary_null",
    _SPAN,
    _STATE,
    text("quantity", "Quantity", "kl or js.", unit="nat"),
    text("against", "Against", "The other span."),
    number("tokens", "Tokens", "Of either mean distribution: half of what the smaller span has, mean over examples."),
    number("matched", "Between spans", "Between so many tokens of either span.", unit="nat"),
    number("null", "Within a span", "Between so many tokens of a span and so many others of the same.", unit="nat"),
    number("mean", "Beyond the null", "`matched` less `null`: 0 on average where the spans' tokens are alike."),
    *_BOUNDS,
)

PARTS = TableSchema.of(
    "parts",
    text(
        "quantity",
        "Quantity",
        "ima_0, ima_same; drift; log_norm (of median norms); paired_raw, paired_centred (two spans of one example), "
        "others_raw, others_centred (spans of different inputs); iou, iou_permuted, iou_magnitude (half of the "
        "weights, mean over matrices); js, kl, neighbours (beyond the null), js_null, kl_null, neighbours_null; "
        "gap_share.",
    ),
    _A,
    text("b", "Second span", "Empty where there is one span."),
    integer("layer", "Hidden state", "Missing where the quantity is of all.", nullable=True),
    integer("part", "Part", "A group of whole inputs, by their names; the same group in all rows."),
    number("value", "Value", "Of the quantity, over all examples; the same in all its parts."),
    number("change", "Change", "What this part adds to the value: sums to about 0 over the parts."),
    integer("n", "Examples", "Of this part."),
)
PARTS_RELEASED = TableSchema("parts_released", PARTS.columns)
PARTS_RANDOM = PARTS.plus(
    "parts_random", integer("sample", "Model", "Which further model with random weights, from 1; as in parts_controls.")
)

INSIDE = TableSchema.of(
    "inside",
    _SPAN,
    _LAYER,
    _TAP,
    text("quantity", "Quantity", "norm, or change: cosine with the same token one block later."),
    *_ESTIMATE,
)

_RANK = integer("k", "Rank", "A word counts where it is among the k most probable ones of a token.")

HISTOGRAM = TableSchema.of(
    "histogram",
    _SPAN,
    _STATE,
    _RANK,
    integer("start", "From", "First token id of a stretch of the vocabulary."),
    integer("stop", "To", "Token id behind its last."),
    number("share", "Share", "Of all words that are counted; stretches without any have no row."),
    _N,
)

NEAREST = TableSchema.of(
    "nearest",
    _SPAN,
    _STATE,
    _RANK,
    integer("token_id", "Token", "Index in the model's vocabulary."),
    text("word", "Word", "Its text."),
    number("share", "Share", "Of the span's tokens that have it among their k most probable words."),
    _N,
)

GEOMETRY = TableSchema.of(
    "geometry",
    _SPAN,
    _STATE,
    text(
        "quantity",
        "Quantity",
        "narrowness, effective_rank, cka; gap (distance of the means of unit vectors), gap_share (of their variance, "
        "between the means); neighbours (share in common), neighbours_shuffled (by chance; bounds: 95 % of shuffles).",
    ),
    text("against", "Against", "The other span of what compares two; empty otherwise."),
    *_ESTIMATE,
)

OUTLIERS = TableSchema.of(
    "outliers",
    _LAYER,
    _TAP,
    integer(
        "outliers",
        "Outlier dimensions",
        "Left out where a variant is called no_outliers: root mean square above six times the median dimension's.",
    ),
    integer("dimensions", "Dimensions", "Of all that there are."),
    integer("n", "Examples", "Sound examples of the pilot pass, which the rule is applied to."),
)

MAP = TableSchema.of(
    "map",
    EXAMPLE,
    _SPAN,
    _STATE,
    text("method", "Method", "pca or tsne, of the mean tokens of all spans together."),
    number("x", "First axis", "Without a unit."),
    number("y", "Second axis", "Without a unit."),
)

OVERLAP = TableSchema.of(
    "overlap",
    _A,
    _B,
    integer("layer", "Layer", "0-based block."),
    text("matrix", "Matrix", "Name of the matrix within the block."),
    number("sparsity", "Sparsity", "Share of each output row's weights that is left out."),
    number("iou", "Overlap", "Intersection over union of the weights kept by Wanda on either span."),
    number("null_random", "Random masks", "Expected of two independent random masks."),
    number("null_magnitude", "Magnitude", "Mean overlap of either mask with that of magnitude alone."),
    number("null_permuted", "Permuted norms", "Overlap when the second span's norms are shuffled, mean of four."),
    integer("tokens_a", "Tokens, first", "How many tokens the first span's norms rest on."),
    integer("tokens_b", "Tokens, second", "How many tokens the second span's norms rest on."),
    number("ceiling", "Ceiling", "A span with itself, norms from halves; may be exceeded.", nullable=True),
    number("low", "Lower bound", "Of the overlap's 95 % interval over examples.", nullable=True),
    number("high", "Upper bound", "Of the overlap's 95 % interval over examples.", nullable=True),
    _N,
)

OVERLAP_TASKS = TableSchema("overlap_tasks", OVERLAP.columns)
OVERLAP_RELEASED = TableSchema("overlap_released", OVERLAP.columns)

SCORE = TableSchema.of(
    "score",
    text("name", "Score", "ima_0: image as it enters with text at every depth; ima_same: at equal."),
    text("statistic", "Statistic", "mean_token, median_token, or mean_token_all_pairs as published."),
    number("value", "Value", "Cosine, mean over hidden states and examples."),
    *_BOUNDS,
    _A,
    _B,
)

MEASURED = (
    NORMS,
    DRIFT,
    DRIFT_RELEASED,
    SIMILARITY,
    INSIDE,
    VOCABULARY,
    VOCABULARY_NULL,
    NEAREST,
    HISTOGRAM,
    GEOMETRY,
    OUTLIERS,
    MAP,
    OVERLAP,
    OVERLAP_TASKS,
    SCORE,
    PARTS,
)

# Values of the column `control`, beside that of `RANDOM_WEIGHTS`.
NOISE_TOKENS = "noise"
MODALITY_ISOLATION = "apart"
SAME_EXAMPLES = "model"
"""In `parts_controls`: the model itself, on the examples that its controls were run on."""

SMALLEST = 0.02
"""Smallest difference of cosines or overlaps worth naming: a hundredth of a cosine's range, and about as well as the
score of some 50 examples is known."""

_CONTROL = text(
    "control",
    "Control",
    "noise: random tokens as the image; twin: random weights; apart: image and text isolated; model (in parts alone): "
    "the model itself on the same examples.",
)
TABLES = (
    EXTENTS,
    *MEASURED,
    OVERLAP_RELEASED,
    PARTS_RELEASED,
    PARTS_RANDOM,
    *(s.plus(f"{s.name}_controls", _CONTROL) for s in MEASURED),
)
