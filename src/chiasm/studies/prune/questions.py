"""Which question each kind of claim of `chiasm prune` answers, in the order of the page."""

from typing import Final

QUESTIONS: Final = {
    "recommended": "How many weights can be set to zero?",
    "loss": "How many right answers does each level lose or gain?",
    "kept": "Which levels are known to keep within the loss allowed?",
    "saved-bytes": "How much smaller is a file that does not store zeros?",
    "saved-weights": "How many weights are zero?",
    "saved-operations": "How many products are with a zero (which saves no time where they are computed all the same)?",
    "own-type": "Do questions need the weights of their own type: does their own mask lose less or more than others?",
    "own-type-control": "Is that more or less than handing the masks out at random would give?",
    "method": "Does Wanda lose less or more than magnitude and random weights do?",
    "variant": "Do other ways to calibrate lose less or more?",
    "modality": "Do masks of image tokens lose less or more than masks of text tokens?",
    "ablation": "Weights that image and text share, or of one alone: does zeroing them lose less or more?",
    "combined": "Do masks combined over types lose less or more?",
    "released": "Does the released form lose less or more?",
    "baseline": "How many right answers does a model with random weights lose or gain?",
    "baseline-score": "How many answers of a model with random weights are right?",
    "score": "What is there to lose: how many answers of the untouched model are right?",
    "needed": "How many inputs would show that a mask keeps the loss allowed?",
}

CHARTS: Final = {
    "transfer-": "Does a mask made on one question type serve the others?",
    "transfer": "Does a mask made on one question type serve the others?",
    "prune": "How many weights can be zero before answers go wrong?",
    "prune-perplexity": "When does the answer become less probable?",
}
"""The question that each figure answers, the main one first."""

DIFFERENCES: Final = frozenset({"method", "variant", "modality", "ablation", "combined", "released"})
"""Kinds whose effect is a difference from what the control shows, beside those named `...-control` and `beyond`."""

UNTESTED: Final = frozenset({"needed"})
"""Kinds that are counts, bounds or choices, of which nothing could be established."""
