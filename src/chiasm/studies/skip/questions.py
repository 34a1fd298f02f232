"""Which question each kind of claim of `chiasm skip` answers, in the order of the page."""

from typing import Final

QUESTIONS: Final = {
    "recommended": "Which plan is recommended?",
    "loss": "How many right answers does each plan lose or gain?",
    "kept": "Which plans are known to keep within the loss allowed?",
    "operations": "How many operations does each plan leave?",
    "time": "How much longer or shorter does each plan take?",
    "time-beyond": "Is it longer or shorter than between two equal calls?",
    "logprob": "How much of the untouched answer's log-probability does each plan lose or gain?",
    "beaten": "Which plans lose more or less than another of no more operations?",
    "search": "Do the chosen layers lose less or more than random ones?",
    "search-draws": "How many random choices of layers lose more?",
    "drop": "Do the dropped tokens lose less or more than random ones?",
    "drop-draws": "How many random choices of tokens lose more?",
    "contribution": "Which parts of which layers does the answer need?",
    "contribution-beyond": "Does it need them more or less than with random weights?",
    "modality": "Does leaving out the feed-forward cost text tokens more or less than image tokens?",
    "modality-span": "What does leaving out the feed-forward cost for the tokens of each kind?",
    "recovery": "Does training with the plan give right answers back: are more or fewer right?",
    "recovery-beyond": "Are they more or fewer than as much training without it gives back?",
    "recovery-score": "How many answers are right before and after training?",
    "score": "What is there to lose: how many answers of the plain model are right?",
    "needed": "How many inputs would show that a plan keeps the loss allowed?",
    "needed-limit": "How many examples to ask for, so that as many inputs judge?",
}

CHARTS: Final = {
    "skip": "What does each plan cost, and what does it save?",
    "recovery": "Does training with the plan give right answers back?",
    "contributions": "Which layers does the answer need?",
}
"""The question that each figure answers, the main one first."""

DIFFERENCES: Final = frozenset({"beaten", "search", "drop", "modality"})
"""Kinds whose effect is a difference from what the control shows, beside those named `...-control` and `beyond`."""

UNTESTED: Final = frozenset({"needed", "needed-limit"})
"""Kinds that are counts, bounds or choices, of which nothing could be established."""
