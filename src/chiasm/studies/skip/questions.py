"""Which question each kind of claim of `chiasm skip` answers, in the order of the page."""

from typing import Final

QUESTIONS: Final = {
    "recommended": "Which plan is recommended?",
    "loss": "How many right answers does each plan lose?",
    "kept": "Which plans are known to keep within the loss allowed?",
    "operations": "How many operations does each plan leave?",
    "time": "How much longer or shorter does each plan take?",
    "time-beyond": "Is that more than two equal calls differ by?",
    "logprob": "How much of the untouched answer's log-probability does each plan lose?",
    "beaten": "Which plans are beaten by another of no more operations?",
    "search": "Do the chosen layers lose less than random ones?",
    "search-draws": "How many random choices of layers lose more?",
    "drop": "Do the dropped tokens lose less than random ones?",
    "drop-draws": "How many random choices of tokens lose more?",
    "contribution": "Which parts of which layers does the answer need?",
    "contribution-beyond": "Does it need them more than with random weights?",
    "modality": "Does leaving out the feed-forward cost text tokens more than image tokens?",
    "modality-span": "What does leaving out the feed-forward cost for the tokens of each kind?",
    "recovery": "Does training with the plan give right answers back?",
    "recovery-beyond": "More than as much training without it?",
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
