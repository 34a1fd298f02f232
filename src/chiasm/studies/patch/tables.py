"""The tables of `chiasm patch`, and the names of its controls."""

from typing import Final

from chiasm.core.schema import TableSchema, integer, number, text
from chiasm.results.schemas import CONTROL, EXAMPLE, EXAMPLES, TYPE, corners

SMALLEST: Final = 5.0
"""The smallest share of the gap worth naming, in points."""
SMALLEST_GAP: Final = 0.5
"""Of a gap below it (nat) no share is taken: it would divide by what little things decide."""
NOISE_FACTOR: Final = 10.0
"""In half precision a gap is so many times what arithmetic alone does to the pair's log-probabilities, at least."""

SAME_ANSWER: Final = "same-answer"
RANDOM_TOKENS: Final = "random-tokens"
SHUFFLED: Final = "shuffled-donor"
DENOISE: Final = "denoise"
NOISE: Final = "noise"
CUTS: Final = ("image->question", "question->last", "image->last")
"""Attention knockouts of the same examples, which patching is compared with."""

_DONOR = text("donor_id", "Donor", "The example that gives the states, or is given them.")
_WINDOW = (
    integer("layer", "Layer", "Centre of the window of layers, 0-based."),
    integer("start", "Window start", "First layer of the window, 0-based."),
    integer("stop", "Window end", "Layer after the last one of the window (half-open)."),
)
_TARGET = integer("target_token_id", "Target token", "First token of the example's own answer.")
_CLEAN = number("logprob_clean", "Log-probability, own run", "Of the target token, with the own image.", unit="nat")
_DONORS = number("logprob_donor", "Log-probability, donor's run", "Of the same token, in the donor's run.", unit="nat")
_PATCHED = number("logprob_patched", "Log-probability, patched", "Of the same token, under the patch.", unit="nat")
_RECOVERY = number(
    "recovery",
    "Share of the gap",
    "denoise: (patched - donor) / (clean - donor), what comes back; noise: (clean - patched) / (clean - donor), what "
    "is lost. Missing where the gap is too small to divide by (`gap_least` in `pairs`).",
    nullable=True,
)
_DIRECTION = text(
    "direction",
    "Direction",
    "denoise: the donor's run is given the example's states; noise: the example's run is given the donor's.",
)

EFFECTS = TableSchema.of(
    "effects",
    EXAMPLE,
    _DONOR,
    TYPE,
    text("site", "Site", "What is replaced: a layer's input (residual), or what its attention or MLP adds."),
    text("span", "Span", "Positions whose states are replaced."),
    *_WINDOW,
    _DIRECTION,
    _TARGET,
    _CLEAN,
    _DONORS,
    _PATCHED,
    _RECOVERY,
    integer("donor_token_id", "Donor's token", "First token of the donor's answer."),
    number("odds_clean", "Log-odds, own run", "log p(target) - log p(donor's token), in the own run.", unit="nat"),
    number("odds_donor", "Log-odds, donor's run", "The same in the donor's run.", unit="nat"),
    number("odds_patched", "Log-odds, patched", "The same under the patch (the logit difference).", unit="nat"),
    number(
        "recovery_odds", "Share of the gap in log-odds", "As `recovery`, of the log-odds; missing likewise.",
        nullable=True,
    ),
)  # fmt: skip

CONTROLS = EFFECTS.plus(
    "controls",
    CONTROL,
    integer("sample", "Sample", "Number of the random draw, or of the model with random weights, 0-based."),
)

PAIRS = TableSchema.of(
    "pairs",
    EXAMPLE,
    _DONOR,
    TYPE,
    text("how", "How", "Where the donor is from: data, minimal, question, or image (see docs/patch.md)."),
    integer("token_id", "Own token", "First token of the model's answer to the example."),
    integer("donor_token_id", "Donor's token", "First token of its answer to the donor."),
    text("answer", "Own answer", "Text of that token."),
    text("donor_answer", "Donor's answer", "Text of that token."),
    number("gap", "Gap", "Log-probability of the own token in the own run, less in the donor's.", unit="nat"),
    number("gap_odds", "Gap in log-odds", "Log-odds of own against donor's token, own run less donor's.", unit="nat"),
    number("gap_least", "Least gap", "A share is taken of a gap at least so large.", unit="nat"),
)
PAIRS_CONTROLS = PAIRS.plus(
    "pairs_controls", CONTROL, integer("sample", "Sample", "Number of the model with random weights, 0-based.")
)

KNOCKOUTS = TableSchema.of(
    "knockouts",
    EXAMPLE,
    TYPE,
    text("cut", "Cut", "SOURCE->TARGET: target rows do not attend to source columns."),
    *_WINDOW,
    _TARGET,
    _CLEAN,
    number("logprob_cut", "Log-probability, cut", "Of the target token under the cut.", unit="nat"),
)

TOKENS = TableSchema.of(
    "tokens",
    EXAMPLE,
    _DONOR,
    TYPE,
    integer("patch", "Patch", "Number of the patch or super-patch of the image, 0-based."),
    *corners(),
    text("tile", "Tile", "Which view of the image: base, or the name of a high-resolution tile."),
    integer("layer", "Layer", "The layer whose input is replaced there, 0-based."),
    _DIRECTION,
    _CLEAN,
    _DONORS,
    _PATCHED,
    _RECOVERY,
)

SCREEN = TableSchema.of(
    "screen",
    EXAMPLE,
    _DONOR,
    TYPE,
    text("site", "Site", "As in `effects`."),
    text("part", "Part", "Top-level span of the token."),
    integer("position", "Position", "Of the token in the own run, on the sequence axis, 0-based, padding excluded."),
    integer("layer", "Layer", "The layer at which it would be patched, 0-based."),
    _DIRECTION,
    number(
        "estimate",
        "Share by the gradient",
        "Share of the gap by the first order: (other state - own state) . gradient; missing where the gap is small. "
        "Tokens that are alike in both runs have no row.",
        nullable=True,
    ),
    number(
        "exact", "Share by the patch", "The same by an exact patch of this token; missing for what was not sampled.",
        nullable=True,
    ),
)  # fmt: skip

TABLES = (EXAMPLES, PAIRS, PAIRS_CONTROLS, EFFECTS, CONTROLS, KNOCKOUTS, TOKENS, SCREEN)
