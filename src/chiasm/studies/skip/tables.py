"""The tables of `chiasm skip`."""

from chiasm.core.schema import TableSchema, flag, integer, number, text
from chiasm.results.schemas import CONTROL, EXAMPLE, EXAMPLES, TYPE

_PLAN = text("plan", "Plan", "Name of the plan; `none` leaves nothing out.")
_KIND = text("kind", "Kind", "none, search, a published method, or a control.")
_ANSWER = (
    text("answer", "Answer", "The labelled answer."),
    text("generated", "Generated", "The greedy answer, under the plan if there is one."),
    flag("correct", "Correct", "Equal after stripping and lower-casing."),
)
_OPERATIONS = number("operations_share", "Operations", "Of the prompt's, as a share of the plain model's.")
_SCORE = (
    number("score", "Score", "Share of right greedy answers."),
    number("score_low", "Score, low", "Lower bound of its 95 % Wilson interval.", nullable=True),
    number("score_high", "Score, high", "Upper bound of its 95 % Wilson interval.", nullable=True),
)
_PAIRED = "95 % score interval of paired shares; in `plans` for all that may be recommended at once."
_LOSS_BOUNDS = (
    number("loss_low", "Loss, low", f"Lower bound, {_PAIRED}", nullable=True),
    number("loss_high", "Loss, high", "Upper bound of that interval.", nullable=True),
)
_ALONE = "95 % bootstrap, of it alone."
_LOGPROB_BOUNDS = (
    number("logprob_loss_low", "Log-probability lost, low", _ALONE, unit="nat", nullable=True),
    number("logprob_loss_high", "Log-probability lost, high", _ALONE, unit="nat", nullable=True),
)

CONTRIBUTIONS = TableSchema.of(
    "contributions",
    EXAMPLE,
    TYPE,
    integer("layer", "Layer", "The layer whose work is left out, 0-based."),
    text("part", "Part", "What is left out for the span's rows: ffn, attention, or block (both)."),
    number("kl", "Divergence", "KL(untouched || skipped), mean over the untouched answer.", unit="nat"),
    number("logprob_clean", "Log-probability, untouched", "Of the untouched answer, mean token.", unit="nat"),
    number("logprob_skip", "Log-probability, skipped", "The same with the work left out.", unit="nat"),
)

MODALITIES = TableSchema.of(
    "modalities",
    EXAMPLE,
    TYPE,
    text("layers", "Layers", "half (every second one) or all."),
    text("span", "Span", "Whose feed-forward is left out: the perceptual tokens, or text."),
    integer("tokens", "Tokens", "As many of either span, at random; of text never the last of the prompt."),
    number("kl", "Divergence", "KL(untouched || skipped), mean over the untouched answer.", unit="nat"),
    number("logprob_clean", "Log-probability, untouched", "Of the untouched answer, all of it.", unit="nat"),
    number("logprob_skip", "Log-probability, skipped", "The same with the feed-forward left out.", unit="nat"),
)

TIMINGS = TableSchema.of(
    "timings",
    _PLAN,
    integer("repeat", "Repeat", "All plans take their turn in every repeat."),
    number("prefill_seconds", "Prefill", "Time to read one prompt, vision tower included.", unit="s"),
    number("prefill_share", "Prefill, share", "Its ratio to the plain model's call beside it; of `none`, equal calls."),
    number("batch_share", "Batch, share", "The same where `--batch-size` prompts are read together."),
)

VERDICTS = TableSchema.of(
    "verdicts",
    EXAMPLE,
    TYPE,
    _PLAN,
    _KIND,
    *_ANSWER,
    number("logprob", "Log-probability", "Of the untouched model's own answer, all of it.", unit="nat"),
)

_TIME_BOUND = "Bound of 95 %, for all plans that may be recommended at once; empty for the others."

PLANS = TableSchema.of(
    "plans",
    _PLAN,
    _KIND,
    text("skipped", "Left out", "What the plan leaves out, in words."),
    _OPERATIONS,
    number("prefill_seconds", "Prefill", "Median time to read one prompt, vision tower included.", unit="s"),
    number("prefill_spread", "Prefill, spread", "Interquartile range over the repeats.", unit="s"),
    number(
        "prefill_share", "Prefill, share", "Geometric mean of its ratios to a plain call; of `none`, of equal calls."
    ),
    number("prefill_share_low", "Prefill, share, low", _TIME_BOUND, nullable=True),
    number("prefill_share_high", "Prefill, share, high", _TIME_BOUND, nullable=True),
    number("batch_share", "Batch, share", "The same where `--batch-size` prompts are read together."),
    number("batch_share_low", "Batch, share, low", _TIME_BOUND, nullable=True),
    number("batch_share_high", "Batch, share, high", _TIME_BOUND, nullable=True),
    number("decode_seconds", "Decoding", "Median time per further token.", unit="s"),
    integer("peak_bytes", "Peak memory", "Above the weights, while one prompt is read.", unit="byte"),
    *_SCORE,
    number("loss", "Loss", "Score of the plain model minus this one's, on the same examples."),
    *_LOSS_BOUNDS,
    number("logprob_loss", "Log-probability lost", "Of the untouched answer, mean over examples.", unit="nat"),
    *_LOGPROB_BOUNDS,
    integer("n", "Examples", "Held-out examples; none of them was measured on."),
    flag("pareto", "Pareto", "No other plan (no control) does as few operations and loses as little."),
    flag("recommended", "Recommended", "The cheapest that is established to keep the loss allowed and to save time."),
    number("max_loss", "Loss allowed", "Share of right answers that may be lost.", nullable=True),
    number("loss_bound", "Loss, bound", "Upper bound, over all plans that may be recommended at once.", nullable=True),
)

_TRAINED = text("trained", "Trained", "none; without-plan (the control: as many steps); with-plan.")
_ANSWERED_UNDER = text("plan", "Answered under", "The plan in effect when answering; empty for none.")

RECOVERED = TableSchema.of(
    "recovered",
    EXAMPLE,
    TYPE,
    _TRAINED,
    _ANSWERED_UNDER,
    *_ANSWER,
    number("logprob", "Log-probability", "Of the label as the untouched model writes it.", unit="nat"),
)

RECOVERY = TableSchema.of(
    "recovery",
    _TRAINED,
    _ANSWERED_UNDER,
    _OPERATIONS,
    *_SCORE,
    number("loss", "Loss", "Score of the untrained model without a plan minus this, same examples."),
    *_LOSS_BOUNDS,
    number("logprob_loss", "Log-probability lost", "Of the label, mean over examples, as above.", unit="nat"),
    *_LOGPROB_BOUNDS,
    integer("n", "Examples", "Held-out examples; none of them was trained or measured on."),
)

CONTRIBUTIONS_CONTROLS = CONTRIBUTIONS.plus(
    "contributions_controls",
    CONTROL,
    integer("sample", "Model", "Which of the models with random weights that share the examples, from 0."),
)
TABLES = (
    EXAMPLES,
    CONTRIBUTIONS,
    VERDICTS,
    PLANS,
    CONTRIBUTIONS_CONTROLS,
    RECOVERED,
    RECOVERY,
    MODALITIES,
    TIMINGS,
)

SMALLEST = 0.05
"""Smallest change of the answer's log-probability worth naming (nat): about 5 % of its probability."""
ERROR_SHARE = 0.2
"""A standard error below this share of the smallest effect worth naming counts as so much (see `mean_bands`)."""

NO_BATCH = "left over, as the examples that choose layers are taken in whole batches"
"""Why an example neither measures contributions nor judges plans."""

RECOVERED_FOLDER = "recovered"
"""Where a run keeps the model that was trained with its plan."""

# Names in the column `trained`.
UNTRAINED, TRAINED_PLAIN, TRAINED_WITH_PLAN = "none", "without-plan", "with-plan"

# Names in the column `kind`.
NONE = "none"
SEARCH = "search"
RANDOM_LAYERS = "random-layers"  # the control of `search`: as many operations left out, anywhere
VISUAL_FFN, SHORT_V, V_SKIP, FAST_V, RANDOM_DROP = "visual-ffn", "short-v", "v-skip", "fast-v", "random-drop"
TEXT_FFN = "text-ffn"  # what `visual-ffn` is compared with in arXiv 2405.16700
COMPANION = "companion"  # of all tokens: blocks left out, sub-layers or blocks in parallel
CONTROLS = (RANDOM_LAYERS, RANDOM_DROP, TEXT_FFN)
"""Kinds that others are compared with: never recommended."""
PEERS = (VISUAL_FFN, TEXT_FFN, SHORT_V, V_SKIP, FAST_V, RANDOM_DROP, COMPANION)
