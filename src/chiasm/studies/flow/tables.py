"""The tables of `chiasm flow`, and the names of its controls."""

from chiasm.core.schema import TableSchema, flag, integer, number, text
from chiasm.results.schemas import CONTROL, EXAMPLE, EXAMPLES, TYPE

_WINDOW = (
    integer("layer", "Layer", "Centre of the window of layers, 0-based."),
    integer("start", "Window start", "First layer of the window, 0-based."),
    integer("stop", "Window end", "Layer after the last one of the window (half-open)."),
)
_STATE = integer(
    "layer", "Layer", "Hidden state: 0 is the embeddings, k the output of block k-1 before the final norm."
)
_TOKEN = integer("token_id", "Token", "Index in the model's vocabulary.")
_LOGPROB_CLEAN = number(
    "logprob_clean", "Log-probability, untouched", "Of the target token, from a no-op on the same path.", unit="nat"
)
_LOGPROB_CUT = number("logprob_cut", "Log-probability, cut", "Of the target token under the cut.", unit="nat")
_CHANGE = number(
    "change_percent",
    "Change in probability",
    "(prob_cut - prob_clean) / prob_clean * 100 of one example (Zhang et al. 2025, section 3); at least -100.",
    unit="%",
)
EFFECTS = TableSchema.of(
    "effects",
    EXAMPLE,
    TYPE,
    text(
        "cut",
        "Cut",
        "As typed: SOURCE->TARGET (its rows do not attend to source columns), or another form of --cut.",
    ),
    *_WINDOW,
    integer("target_token_id", "Target token", "Token whose probability is followed."),
    _LOGPROB_CLEAN,
    _LOGPROB_CUT,
    number("prob_clean", "Probability, untouched", "exp(logprob_clean)."),
    number("prob_cut", "Probability, cut", "exp(logprob_cut)."),
    _CHANGE,
    integer("top_token_id", "Top token, cut", "Most probable token under the cut."),
    flag("flipped", "Flipped", "The most probable token is another one than without the cut."),
)

CONTROLS = EFFECTS.plus(
    "controls",
    text("control", "Control", "What stands in for the cut; names in `chiasm.studies.flow.tables`."),
    integer("sample", "Sample", "Number of the random draw, 0-based; 0 where nothing is drawn."),
)

ANSWERS = TableSchema.of(
    "answers",
    EXAMPLE,
    TYPE,
    _STATE,
    text("form", "Form", "Written form that is followed: lower, capital, or an option's name."),
    _TOKEN,
    number("prob", "Probability", "softmax(head(norm(state))) at the last prompt position."),
    number("prob_raw", "Probability, un-normed", "softmax(head(state)): as released, without the norm."),
)

ANSWERS_TWIN = TableSchema("answers_twin", ANSWERS.columns)  # the same in a model of the same shape, random weights

PATCHES = TableSchema.of(
    "patches",
    EXAMPLE,
    TYPE,
    integer("patch", "Patch", "Number of the patch or super-patch, 0-based."),
    number("x0", "Left", "In pixels of the original image; may lie outside it where it was padded.", unit="px"),
    number("y0", "Top", "In pixels of the original image.", unit="px"),
    number("x1", "Right", "In pixels of the original image.", unit="px"),
    number("y1", "Bottom", "In pixels of the original image.", unit="px"),
    text("tile", "Tile", "Which view of the image: base, or the name of a high-resolution tile."),
    _LOGPROB_CLEAN,
    _LOGPROB_CUT,
    _CHANGE,
)

PATCH_VALUES = TableSchema.of(
    "patch_values",
    EXAMPLE,
    TYPE,
    integer("patch", "Patch", "Number of the patch or super-patch, as in `patches`, which says where it lies."),
    text(
        "method",
        "Method",
        "leave-one-out: all patches visible less all but this one; keep-one: this one alone visible less none; "
        "shapley: the mean over random orders of what the patch adds when patches appear one by one.",
    ),
    number(
        "value",
        "What the patch adds",
        "What the patch adds to the log-probability of the target token; positive where it speaks for it.",
        unit="nat",
    ),
    number(
        "low",
        "Low",
        "Lower end of the 95 % interval over orders; missing without two of them.",
        unit="nat",
        nullable=True,
    ),
    number("high", "High", "Upper end of the 95 % interval over orders.", unit="nat", nullable=True),
    integer("n", "n", "Orders of the patches; 1 where nothing is drawn."),
    flag("in_object", "On an object", "It lies under a box of the example; missing where it has none.", nullable=True),
    text("answer", "Answer", "Text of the target tokens."),
)

PATCH_VALUES_CONTROLS = PATCH_VALUES.plus(
    "patch_values_controls", CONTROL, integer("sample", "Sample", "Number of the model with random weights, 0-based.")
)

WORDS = TableSchema.of(
    "words",
    EXAMPLE,
    TYPE,
    _STATE,
    integer("position", "Position", "Position on the sequence axis, 0-based, padding excluded."),
    _TOKEN,
    text("word", "Word", "Text of the most probable token there."),
    number("prob", "Probability", "Its probability, softmax(head(norm(state)))."),
    flag("in_captions", "In captions", "The word stands in a caption of the example."),
)

TOKENS = TableSchema.of(
    "tokens",
    EXAMPLE,
    TYPE,
    text("cut", "Cut", "As in `effects`, whose rows hold the mean over the tokens."),
    *_WINDOW,
    integer("index", "Place", "Place of the token in the teacher-forced answer, 0-based."),
    _TOKEN,
    _LOGPROB_CLEAN,
    _LOGPROB_CUT,
    _CHANGE,
    integer("top_token_id", "Top token, cut", "Most probable token there under the cut."),
)

ANSWER_WORDS = TableSchema.of(
    "answer_words",
    EXAMPLE,
    TYPE,
    integer("word", "Place", "Place of the word in the model's own answer, 0-based."),
    text("text", "Word", "As written; an object that is named in several words is one."),
    text("class", "Class", "object, function, number, yes or no, other, or a class of the data's own vocabulary."),
    text("group", "Group", "The class; of objects whether the input has them, where that is known."),
    integer("tokens", "Tokens", "How many tokens it has."),
    text("cut", "Cut", "As in `effects`."),
    *_WINDOW,
    number("logprob_clean", "Log-probability, untouched", "Mean over the word's tokens, teacher-forced.", unit="nat"),
    number("logprob_cut", "Log-probability, cut", "The same under the cut.", unit="nat"),
)

ANSWER_WORDS_CONTROLS = ANSWER_WORDS.plus(
    "answer_words_controls",
    text("control", "Control", "What stands in for the cut; names in `chiasm.studies.flow.tables`."),
    integer("sample", "Sample", "Number of the random draw, or of the model with random weights, 0-based."),
)

NOISE = TableSchema.of(
    "noise",
    EXAMPLE,
    TYPE,
    *_WINDOW,
    number("logprob_clean", "Log-probability, one no-op", "Of the target token.", unit="nat"),
    number("logprob_noop", "Log-probability, other no-op", "Same, from another no-op variant.", unit="nat"),
    number("change_percent", "Change in probability", "What arithmetic alone changes.", unit="%"),
)

ROUNDING = TableSchema.of(
    "rounding",
    EXAMPLE,
    TYPE,
    text("cut", "Cut", "As in `effects`."),
    *_WINDOW,
    number(
        "change_served",
        "Change as served",
        "Of the target token's log-probability, computed in half precision as the model is served.",
        unit="nat",
    ),
    number("change_raised", "Change in float32", "The same, computed in float32 with the same weights.", unit="nat"),
)

_ONE_LAYER = integer("layer", "Layer", "The layer whose head it is, 0-based.")
HEADS = TableSchema.of(
    "heads",
    EXAMPLE,
    TYPE,
    text("cut", "Cut", "SOURCE->TARGET@heads=WHICH or zero:heads@SPAN, as typed or as --heads stands for."),
    _ONE_LAYER,
    integer("head", "Head", "Number of the head, 0-based; of heads that share their keys, of the group."),
    text("kind", "Kind", "edges: what target rows read of source columns is cut in it; output: all it gives is zero."),
    _LOGPROB_CLEAN,
    _LOGPROB_CUT,
    text("heads", "Heads", "Query heads that are changed together: one, or the first and the last of a group."),
)

HEADS_CONTROLS = HEADS.plus(
    "heads_controls",
    text("control", "Control", "What stands in for the head's change; names in `chiasm.studies.flow.tables`."),
    integer("sample", "Sample", "Number of the random draw, or of the model with random weights, 0-based."),
)

FOLLOWED = TableSchema.of(
    "followed",
    EXAMPLE,
    text("text", "Followed", "The tokens whose probability is followed, as text: what the model says, or the label."),
    flag(
        "right",
        "Right",
        "Whether it begins as a written form of the labelled answer does; with --target words, whether it is the "
        "labelled answer, or without a label names no object that is not there.",
    ),
)

SUFFICIENCY = TableSchema.of(
    "sufficiency",
    EXAMPLE,
    TYPE,
    text("routes", "Routes", "What --keep-only names, as typed; `search` in `sufficiency`."),
    text("open", "Open", "routes: those of the set; random: as many others; closed: none."),
    integer("size", "Routes open", "Of all between top-level spans; every other one is closed in all layers."),
    text("half", "Half", "all; choosing: examples that the search chose by; judging: examples that it never saw."),
    integer("target_token_id", "Target token", "Token whose probability is followed."),
    number("logprob_clean", "Log-probability, untouched", "Of the target token, all routes open.", unit="nat"),
    number("logprob_kept", "Log-probability, kept", "Of the target token with only these routes open.", unit="nat"),
    flag("right_clean", "Right, untouched", "The most probable first token begins the labelled answer."),
    flag("right_kept", "Right, kept", "The same with only these routes open."),
)

KEEP_ONLY = TableSchema("keep_only", SUFFICIENCY.columns)  # the set that --keep-only names, on all examples

SUFFICIENT_ROUTES = TableSchema.of(
    "sufficient_routes",
    text("route", "Route", "SOURCE->TARGET@layers=A-B."),
    integer("start", "First layer", "0-based."),
    integer("stop", "Layer after", "Layer after the last one (half-open)."),
    integer("closed", "Closed as", "Place in the order of closing, 1-based: so many routes fewer are open then."),
    flag("kept", "Kept", "It is one of the set that the search chose."),
    number(
        "loss",
        "Loss",
        "Mean loss of log-probability in the choosing half where it was closed beside those before its round.",
        unit="nat",
    ),
    integer("round", "Round", "In which it was closed; for those that are kept the last one, which closed none."),
    integer("n", "n", "Examples of the choosing half."),
)

TABLES = (
    EXAMPLES,
    FOLLOWED,
    EFFECTS,
    CONTROLS,
    ANSWERS,
    ANSWERS_TWIN,
    PATCHES,
    PATCH_VALUES,
    PATCH_VALUES_CONTROLS,
    WORDS,
    TOKENS,
    ANSWER_WORDS,
    ANSWER_WORDS_CONTROLS,
    NOISE,
    ROUNDING,
    KEEP_ONLY,
    SUFFICIENCY,
    SUFFICIENT_ROUTES,
    HEADS,
    HEADS_CONTROLS,
)

WORDS_OF = {"effects": "answer_words", "controls": "answer_words_controls"}
"""Where the words of the answer have the rows of a table."""

# Names in the columns `open`, `half` and `routes` of `sufficiency`.
OPEN, RANDOM, CLOSED = "routes", "random", "closed"
ALL, CHOOSING, JUDGING = "all", "choosing", "judging"
SEARCH = "search"

# Names in the column `method`.
LEAVE_ONE_OUT, KEEP_ONE, SHAPLEY = "leave-one-out", "keep-one", "shapley"
METHODS = (LEAVE_ONE_OUT, KEEP_ONE, SHAPLEY)

# Names in the column `control`.
# As many keys as the cut has, drawn from the complement without the first position, the usual attention sink.
SIZE_MATCHED = "size-matched"
# The same cut where every image is mid-grey: what closing the route does where there is nothing to see.
BLANK = "blank"
# No cut, another example's image (video, sound) in place: all there is to lose; the same at every layer.
IMAGE_SWAP, VIDEO_SWAP, AUDIO_SWAP = "image-swap", "video-swap", "audio-swap"
SWAPS = (IMAGE_SWAP, VIDEO_SWAP, AUDIO_SWAP)
# Nothing blocked: every key of the cut holds the mean state of all of them, and only their places distinguish them. A
# milder change than the cut, as doses are, and no null.
AVERAGED = "averaged"
SCALES = (*SWAPS, AVERAGED)
"""What an effect stands beside for scale, and has not to exceed."""
# Beside a state ablation: its span hidden from all rows behind it, in the same layers; states stay. No null.
KNOCKOUT = "knockout"
# The same change in other heads of the layer, one by one: in one drawn for each example, or the mean over all of them.
OTHER_HEADS = "other-heads"
_DOSE = "dose-"  # a random share of the cut's own keys


DOSES = (0.25, 0.5, 0.75)
FEWEST_DOSED = 4
"""Of fewer keys a quarter is none, or three quarters are all."""


def dose(share: float) -> str:
    """The control that cuts a random `share` (0 to 1) of the cut's own keys, e.g. `dose-0.25`."""
    return f"{_DOSE}{share:g}"


def dose_share(control: str) -> float | None:
    """The share that `dose` put into a name; None for other controls."""
    return float(control.removeprefix(_DOSE)) if control.startswith(_DOSE) else None


_COMPARED = ("example_id", "input", "type", "cut", "layer", "start", "stop", "logprob_clean", "logprob_cut")
OF_EFFECTS = (*_COMPARED, "change_percent")
"""The columns of `effects` that claims and figures are made from: of a long run all is a lot to hold."""
OF_CONTROLS = (*_COMPARED, "control", "sample")
OF_WORDS = (*_COMPARED, "word", "group", "control", "sample")

SMALLEST = 0.05
"""Smallest change of a log-probability worth naming, in nat: about 5 % of a probability."""

ERROR_SHARE = 0.2
"""A standard error below this share of the smallest effect worth naming counts as so much (see `mean_bands`)."""
