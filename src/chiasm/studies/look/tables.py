"""The tables of `chiasm look`."""

from chiasm.core.schema import Column, TableSchema

_EXAMPLE = Column("example_id", "string", "Example", "", "Identifier of the example in the data.")
_TYPE = Column("type", "string", "Question type", "", "Group of the example that results are averaged in.")
_LAYER = Column("layer", "int", "Layer", "", "The layer whose attention it is, 0-based.")
_HEAD = Column("head", "string", "Head", "", "Number of the head, 0-based, or `mean` over all of them.")
_QUERY = Column("query", "string", "Query", "", "Span whose tokens look; the mean over its tokens.")
_CONTROL = Column("control", "string", "Control", "", "twin: a model of the same shape with random weights.")
_INDEX = Column("index", "int", "Place", "", "Place of the token in its span, 0-based.")

ATTENTION = TableSchema(
    "attention",
    (
        _EXAMPLE,
        _LAYER,
        _HEAD,
        _QUERY,
        Column("span", "string", "Span", "", "Top-level span of the token that is looked at."),
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
        _EXAMPLE,
        _TYPE,
        _LAYER,
        _QUERY,
        Column("span", "string", "Span", "", "Span that is looked at."),
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
        _EXAMPLE,
        Column("span", "string", "Span", "", "Top-level span of the token."),
        _INDEX,
        Column("position", "int", "Position", "", "Position on the sequence axis, 0-based, padding excluded."),
        Column("picture", "string", "Picture", "", "image[k], or video.frame[k], counted through all videos."),
        Column("tile", "string", "Tile", "", "base (the whole image) or hd (a tile of higher resolution)."),
        Column("x0", "float", "Left", "px", "Of the patch, in the original image or frame.", nullable=True),
        Column("y0", "float", "Top", "px", "Of the patch, in the original image or frame.", nullable=True),
        Column("x1", "float", "Right", "px", "Of the patch, in the original image or frame.", nullable=True),
        Column("y1", "float", "Bottom", "px", "Of the patch, in the original image or frame.", nullable=True),
    ),
)

LENS = TableSchema(
    "lens",
    (
        _EXAMPLE,
        _TYPE,
        Column("layer", "int", "Layer", "", "Hidden state: 0 is the embeddings, k the output of block k-1."),
        Column("position", "int", "Position", "", "Position on the sequence axis, 0-based, padding excluded."),
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

LOOK = (ATTENTION, SHARES, SHARES.plus("shares_controls", _CONTROL), PLACES, LENS, LENS.plus("lens_controls", _CONTROL))
