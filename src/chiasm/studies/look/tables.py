"""The tables of `chiasm look`."""

from chiasm.core.schema import Column, TableSchema
from chiasm.results.schemas import EXAMPLE, EXAMPLES, TYPE, corners

_LAYER = Column("layer", "int", "Layer", "", "The layer whose attention it is, 0-based.")
_QUERY = Column("query", "string", "Query", "", "Span whose tokens attend; the mean over its tokens.")
_CONTROL = Column("control", "string", "Control", "", "twin: a model of the same shape with random weights.")
_INDEX = Column("index", "int", "Place", "", "Place of the token in its span, 0-based.")
_POSITION = Column("position", "int", "Position", "", "Position on the sequence axis, 0-based, padding excluded.")

ATTENTION = TableSchema(
    "attention",
    (
        EXAMPLE,
        _LAYER,
        Column("head", "string", "Head", "", "Number of the head, 0-based, or `mean` over all of them."),
        _QUERY,
        Column("span", "string", "Span", "", "Top-level span of the token that is attended to."),
        _INDEX,
        Column("weight", "float", "Attention", "", "Share of the query's attention that the token takes, 0 to 1."),
        Column(
            "sink",
            "bool",
            "Sink",
            "",
            "The token is an attention sink for these queries (at least 0.3 in half of the layers).",
        ),
    ),
)

SHARES = TableSchema(
    "shares",
    (
        EXAMPLE,
        TYPE,
        _LAYER,
        _QUERY,
        Column("span", "string", "Span", "", "Span that is attended to."),
        Column(
            "share",
            "float",
            "Share of attention",
            "",
            "Of the query's attention (mean over heads), all tokens of the span.",
        ),
        Column("visible", "float", "Share of tokens", "", "Of the tokens that the query can see, those of the span."),
    ),
)

PLACES = TableSchema(
    "places",
    (
        EXAMPLE,
        Column("span", "string", "Span", "", "Top-level span of the token."),
        _INDEX,
        _POSITION,
        Column("picture", "string", "Picture", "", "image[k], or video.frame[k], counted through all videos."),
        Column("tile", "string", "Tile", "", "base (the whole image) or hd (a tile of higher resolution)."),
        *corners("image or frame"),
    ),
)

LENS = TableSchema(
    "lens",
    (
        EXAMPLE,
        TYPE,
        Column("layer", "int", "Layer", "", "Hidden state: 0 is the embeddings, k the output of block k-1."),
        _POSITION,
        Column("token_id", "int", "Token", "", "Index in the model's vocabulary."),
        Column("word", "string", "Word", "", "Text of the most probable token there."),
        Column("prob", "float", "Probability", "", "Its probability, softmax(head(norm(state)))."),
        Column(
            "in_captions",
            "bool",
            "In captions",
            "",
            "The word stands in a caption of the example; null where it has none.",
            nullable=True,
        ),
    ),
)

TABLES = (
    EXAMPLES,
    ATTENTION,
    SHARES,
    SHARES.plus("shares_controls", _CONTROL),
    PLACES,
    LENS,
    LENS.plus("lens_controls", _CONTROL),
)
