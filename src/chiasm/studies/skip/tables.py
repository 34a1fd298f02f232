"""The tables of `chiasm skip`."""

from chiasm.core.schema import Column, TableSchema
from chiasm.results.schemas import CONTROL, EXAMPLE, EXAMPLES, TYPE

_PLAN = Column("plan", "string", "Plan", "", "Name of the plan; `none` leaves nothing out.")
_KIND = Column("kind", "string", "Kind", "", "none, search, a published method, or a control.")
_ANSWER = (
    Column("answer", "string", "Answer", "", "The labelled answer."),
    Column("generated", "string", "Generated", "", "The greedy answer, under the plan if there is one."),
    Column("correct", "bool", "Correct", "", "Equal after stripping and lower-casing."),
)
_OPERATIONS = Column("operations_share", "float", "Operations", "", "Of the prompt's, as a share of the plain model's.")
_SCORE = (
    Column("score", "float", "Score", "", "Share of right greedy answers."),
    Column("score_low", "float", "Score, low", "", "Lower bound of its 95 % Wilson interval.", nullable=True),
    Column("score_high", "float", "Score, high", "", "Upper bound of its 95 % Wilson interval.", nullable=True),
)
_LOSS_BOUNDS = (
    Column("loss_low", "float", "Loss, low", "", "Lower bound, 95 % score interval of paired shares.", nullable=True),
    Column("loss_high", "float", "Loss, high", "", "Upper bound of that interval.", nullable=True),
)
_LOGPROB_BOUNDS = (
    Column("logprob_loss_low", "float", "Log-probability lost, low", "nat", "95 % bootstrap.", nullable=True),
    Column("logprob_loss_high", "float", "Log-probability lost, high", "nat", "95 % bootstrap.", nullable=True),
)

CONTRIBUTIONS = TableSchema.of(
    "contributions",
    EXAMPLE,
    TYPE,
    Column("layer", "int", "Layer", "", "The layer whose work is left out, 0-based."),
    Column("part", "string", "Part", "", "What is left out for the span's rows: ffn, attention, or block (both)."),
    Column("kl", "float", "Divergence", "nat", "KL(untouched || skipped), mean over the untouched answer."),
    Column("logprob_clean", "float", "Log-probability, untouched", "nat", "Of the untouched answer, mean token."),
    Column("logprob_skip", "float", "Log-probability, skipped", "nat", "The same with the work left out."),
)

VERDICTS = TableSchema.of(
    "verdicts",
    EXAMPLE,
    TYPE,
    _PLAN,
    _KIND,
    *_ANSWER,
    Column("logprob", "float", "Log-probability", "nat", "Of the untouched model's own answer, all of it."),
)

PLANS = TableSchema.of(
    "plans",
    _PLAN,
    _KIND,
    Column("skipped", "string", "Left out", "", "What the plan leaves out, in words."),
    _OPERATIONS,
    Column("prefill_seconds", "float", "Prefill", "s", "Median time to read one prompt, vision tower included."),
    Column("prefill_spread", "float", "Prefill, spread", "s", "Interquartile range over the repeats."),
    Column("prefill_share", "float", "Prefill, share", "", "Median ratio to a plain call; of `none`, of equal calls."),
    Column("prefill_share_low", "float", "Prefill, share, low", "", "Lower quartile of these ratios."),
    Column("prefill_share_high", "float", "Prefill, share, high", "", "Upper quartile of these ratios."),
    Column("batch_share", "float", "Batch, share", "", "The same where `--batch-size` prompts are read together."),
    Column("batch_share_low", "float", "Batch, share, low", "", "Lower quartile of these ratios."),
    Column("batch_share_high", "float", "Batch, share, high", "", "Upper quartile of these ratios."),
    Column("decode_seconds", "float", "Decoding", "s", "Median time per further token."),
    Column("peak_bytes", "int", "Peak memory", "byte", "Above the weights, while one prompt is read."),
    *_SCORE,
    Column("loss", "float", "Loss", "", "Score of the plain model minus this one's, on the same examples."),
    *_LOSS_BOUNDS,
    Column("logprob_loss", "float", "Log-probability lost", "nat", "Of the untouched answer, mean over examples."),
    *_LOGPROB_BOUNDS,
    Column("n", "int", "Examples", "", "Held-out examples; none of them was measured on."),
    Column("pareto", "bool", "Pareto", "", "No other plan (no control) does as few operations and loses as little."),
    Column("recommended", "bool", "Recommended", "", "The cheapest whose loss keeps the bound that was asked for."),
)

_TRAINED = Column("trained", "string", "Trained", "", "none; without-plan (the control: as many steps); with-plan.")
_ANSWERED_UNDER = Column("plan", "string", "Answered under", "", "The plan in effect when answering; empty for none.")

RECOVERED = TableSchema.of(
    "recovered",
    EXAMPLE,
    TYPE,
    _TRAINED,
    _ANSWERED_UNDER,
    *_ANSWER,
    Column("logprob", "float", "Log-probability", "nat", "Of the label as the untouched model writes it."),
)

RECOVERY = TableSchema.of(
    "recovery",
    _TRAINED,
    _ANSWERED_UNDER,
    _OPERATIONS,
    *_SCORE,
    Column("loss", "float", "Loss", "", "Score of the untrained model without a plan minus this, same examples."),
    *_LOSS_BOUNDS,
    Column("logprob_loss", "float", "Log-probability lost", "nat", "Of the label, mean over examples, as above."),
    *_LOGPROB_BOUNDS,
    Column("n", "int", "Examples", "", "Held-out examples; none of them was trained or measured on."),
)

CONTRIBUTIONS_CONTROLS = CONTRIBUTIONS.plus("contributions_controls", CONTROL)
TABLES = (EXAMPLES, CONTRIBUTIONS, VERDICTS, PLANS, CONTRIBUTIONS_CONTROLS, RECOVERED, RECOVERY)

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
PEERS = (VISUAL_FFN, TEXT_FFN, SHORT_V, V_SKIP, FAST_V, RANDOM_DROP, COMPANION)
