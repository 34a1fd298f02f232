"""The tables of `chiasm look`."""

from chiasm.core.schema import TableSchema, flag, integer, number, text
from chiasm.results.schemas import CONTROL, EXAMPLE, EXAMPLES, TYPE, corners

SMALLEST = 2.0
"""The smallest difference of attention worth naming, in points: a share of 0.02."""

RANKS = (1, 5)
"""How many of a token's nearest words are looked at."""
OUTPUT, INPUT, CONTEXT = "output", "input", "context"
"""The lenses: the output head, the input embeddings, words in texts."""
NAME, DESCRIBED = "name", "described"
"""Which words are looked for: the name of an object's box; those that captions put before it."""
OBJECT, OTHER_OBJECT, ELSEWHERE, RANDOM_DIRECTION = "object", "other object", "elsewhere", "random direction"
"""Where they are looked for; `elsewhere` is all of the image that is not the object."""

_LAYER = integer("layer", "Layer", "The layer whose attention it is, 0-based.")
_QUERY = text("query", "Query", "Span whose tokens attend; the mean over its tokens.")
_INDEX = integer("index", "Place", "Place of the token in its span, 0-based.")
_POSITION = integer("position", "Position", "Position on the sequence axis, 0-based, padding excluded.")

ATTENTION = TableSchema.of(
    "attention",
    EXAMPLE,
    _LAYER,
    text("head", "Head", "Number of the head, 0-based, or `mean` over all of them."),
    _QUERY,
    text("span", "Span", "Top-level span of the token that is attended to."),
    _INDEX,
    number("weight", "Attention", "Share of the query's attention that the token takes, 0 to 1."),
    flag("sink", "Sink", "The token is an attention sink for these queries (at least 0.3 in half of the layers)."),
)

SHARES = TableSchema.of(
    "shares",
    EXAMPLE,
    TYPE,
    _LAYER,
    _QUERY,
    text("span", "Span", "Span that is attended to."),
    number("share", "Share of attention", "Of the query's attention (mean over heads), all tokens of the span."),
    number("visible", "Share of tokens", "Of the tokens that the query can see, those of the span."),
)

PLACES = TableSchema.of(
    "places",
    EXAMPLE,
    text("span", "Span", "Top-level span of the token."),
    _INDEX,
    _POSITION,
    text("picture", "Image", "image[k], or video.frame[k], counted through all videos."),
    text("tile", "Tile", "base (the whole image) or hd (a tile of higher resolution)."),
    *corners("image or frame"),
)

_STATE = integer("layer", "Layer", "Hidden state: 0 is the embeddings, k the output of block k-1.")
_LENS = text(
    "lens",
    "Lens",
    "How a word is found: output (head), input (embeddings, by cosine), context (words in texts, by cosine).",
)

LENS = TableSchema.of(
    "lens",
    EXAMPLE,
    TYPE,
    _STATE,
    _POSITION,
    _LENS,
    integer("token_id", "Token", "Index in the model's vocabulary; of a word in context its last token."),
    text("word", "Word", "Text of the nearest token, or the nearest word in context."),
    number("prob", "Probability", "By the output lens, softmax(head(norm(state))); null of the others.", nullable=True),
    number("cosine", "Cosine", "By the two other lenses, with that row or state; null of output.", nullable=True),
    flag(
        "in_captions",
        "In captions",
        "The word stands in a caption of the example; null where it has none.",
        nullable=True,
    ),
)

NAMED = TableSchema.of(
    "named",
    EXAMPLE,
    TYPE,
    _STATE,
    _LENS,
    text("word", "Words", "name: those of the object's box; described: those that captions put before the name."),
    text(
        "place",
        "Place",
        "Which tokens: object, other object, elsewhere (all but the object), or a random direction for each of "
        "the object's.",
    ),
    integer("k", "Rank", "A token counts where one of the words is among its k nearest."),
    number("share", "Share", "Of the tokens that count, 0 to 1."),
    integer("tokens", "Tokens", "How many tokens were read; at most 64 of a place and object."),
)

_SAMPLE = integer("sample", "Model", "Which of the models with random weights that share the examples, from 0.")

TABLES = (
    EXAMPLES,
    ATTENTION,
    SHARES,
    SHARES.plus("shares_controls", CONTROL, _SAMPLE),
    PLACES,
    LENS,
    LENS.plus("lens_controls", CONTROL, _SAMPLE),
    NAMED,
    NAMED.plus("named_controls", CONTROL, _SAMPLE),
)
