"""The tables of `chiasm flow`, and the names of its controls."""

from chiasm.core.schema import Column, TableSchema
from chiasm.results.schemas import EXAMPLE, EXAMPLES, TYPE

_WINDOW = (
    Column("layer", "int", "Layer", "", "Centre of the window of layers, 0-based."),
    Column("start", "int", "Window start", "", "First layer of the window, 0-based."),
    Column("stop", "int", "Window end", "", "Layer after the last one of the window (half-open)."),
)
_STATE = Column(
    "layer", "int", "Layer", "", "Hidden state: 0 is the embeddings, k the output of block k-1 before the final norm."
)
_TOKEN = Column("token_id", "int", "Token", "", "Index in the model's vocabulary.")
_LOGPROB_CLEAN = Column(
    "logprob_clean", "float", "Log-probability, untouched", "nat", "Of the target token, from a no-op on the same path."
)
_LOGPROB_CUT = Column("logprob_cut", "float", "Log-probability, cut", "nat", "Of the target token under the cut.")
_CHANGE = Column(
    "change_percent",
    "float",
    "Change in probability",
    "%",
    "(prob_cut - prob_clean) / prob_clean * 100 of one example (Zhang et al. 2025, section 3); at least -100.",
)
EFFECTS = TableSchema.of(
    "effects",
    EXAMPLE,
    TYPE,
    Column("cut", "string", "Cut", "", "SOURCE->TARGET as typed: target rows do not attend to source columns."),
    *_WINDOW,
    Column("target_token_id", "int", "Target token", "", "Token whose probability is followed."),
    _LOGPROB_CLEAN,
    _LOGPROB_CUT,
    Column("prob_clean", "float", "Probability, untouched", "", "exp(logprob_clean)."),
    Column("prob_cut", "float", "Probability, cut", "", "exp(logprob_cut)."),
    _CHANGE,
    Column("top_token_id", "int", "Top token, cut", "", "Most probable token under the cut."),
    Column("flipped", "bool", "Flipped", "", "The most probable token is another one than without the cut."),
)

CONTROLS = EFFECTS.plus(
    "controls",
    Column("control", "string", "Control", "", "What stands in for the cut; names in `chiasm.studies.flow.tables`."),
    Column("sample", "int", "Sample", "", "Number of the random draw, 0-based; 0 where nothing is drawn."),
)

ANSWERS = TableSchema.of(
    "answers",
    EXAMPLE,
    TYPE,
    _STATE,
    Column("form", "string", "Form", "", "Written form that is followed: lower, capital, or an option's name."),
    _TOKEN,
    Column("prob", "float", "Probability", "", "softmax(head(norm(state))) at the last prompt position."),
    Column("prob_raw", "float", "Probability, un-normed", "", "softmax(head(state)): as released, without the norm."),
)

ANSWERS_TWIN = TableSchema("answers_twin", ANSWERS.columns)  # the same in a model of the same shape, random weights

PATCHES = TableSchema.of(
    "patches",
    EXAMPLE,
    TYPE,
    Column("patch", "int", "Patch", "", "Number of the patch or super-patch, 0-based."),
    Column("x0", "float", "Left", "px", "In pixels of the original image; may lie outside it where it was padded."),
    Column("y0", "float", "Top", "px", "In pixels of the original image."),
    Column("x1", "float", "Right", "px", "In pixels of the original image."),
    Column("y1", "float", "Bottom", "px", "In pixels of the original image."),
    Column("tile", "string", "Tile", "", "Which view of the image: base, or the name of a high-resolution tile."),
    _LOGPROB_CLEAN,
    _LOGPROB_CUT,
    _CHANGE,
)

WORDS = TableSchema.of(
    "words",
    EXAMPLE,
    TYPE,
    _STATE,
    Column("position", "int", "Position", "", "Position on the sequence axis, 0-based, padding excluded."),
    _TOKEN,
    Column("word", "string", "Word", "", "Text of the most probable token there."),
    Column("prob", "float", "Probability", "", "Its probability, softmax(head(norm(state)))."),
    Column("in_captions", "bool", "In captions", "", "The word stands in a caption of the example."),
)

TOKENS = TableSchema.of(
    "tokens",
    EXAMPLE,
    TYPE,
    Column("cut", "string", "Cut", "", "As in `effects`, whose rows hold the mean over the tokens."),
    *_WINDOW,
    Column("index", "int", "Place", "", "Place of the token in the teacher-forced answer, 0-based."),
    _TOKEN,
    _LOGPROB_CLEAN,
    _LOGPROB_CUT,
    _CHANGE,
    Column("top_token_id", "int", "Top token, cut", "", "Most probable token there under the cut."),
)

NOISE = TableSchema.of(
    "noise",
    EXAMPLE,
    TYPE,
    *_WINDOW,
    Column("logprob_clean", "float", "Log-probability, one no-op", "nat", "Of the target token."),
    Column("logprob_noop", "float", "Log-probability, other no-op", "nat", "Same, from another no-op variant."),
    Column("change_percent", "float", "Change in probability", "%", "What arithmetic alone changes."),
)

TABLES = (EXAMPLES, EFFECTS, CONTROLS, ANSWERS, ANSWERS_TWIN, PATCHES, WORDS, TOKENS, NOISE)

# Names in the column `control`.
# As many keys as the cut has, drawn from the complement without the first position, the usual attention sink.
SIZE_MATCHED = "size-matched"
# No cut, another example's image (video, sound) in place: all there is to lose; the same at every layer.
IMAGE_SWAP, VIDEO_SWAP, AUDIO_SWAP = "image-swap", "video-swap", "audio-swap"
SWAPS = (IMAGE_SWAP, VIDEO_SWAP, AUDIO_SWAP)
_DOSE = "dose-"  # a random share of the cut's own keys


def dose(share: float) -> str:
    """The control that cuts a random `share` (0 to 1) of the cut's own keys, e.g. `dose-0.25`."""
    return f"{_DOSE}{share:g}"


def dose_share(control: str) -> float | None:
    """The share that `dose` put into a name; None for other controls."""
    return float(control.removeprefix(_DOSE)) if control.startswith(_DOSE) else None
