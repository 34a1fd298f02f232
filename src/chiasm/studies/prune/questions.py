"""Which question each kind of claim of `chiasm prune` answers, in the order of the page."""

from typing import Final

QUESTIONS: Final = {
    "recommended": "How many weights can be set to zero?",
    "loss": "How many right answers does each level lose?",
    "kept": "Which levels are known to keep within the loss allowed?",
    "saved-bytes": "How much smaller is a file that does not store zeros?",
    "saved-weights": "How many weights are zero?",
    "saved-operations": "How many products are with a zero (which saves no time where they are computed all the same)?",
    "own-type": "Do questions need the weights of their own type: does their own mask lose less than others?",
    "own-type-control": "Is that more than handing the masks out at random would give?",
    "method": "Does Wanda lose less than magnitude, or than random weights?",
    "variant": "Do other ways to calibrate lose less?",
    "modality": "Do masks of image tokens and of text tokens differ in what they lose?",
    "ablation": "Which weights matter more: those that image and text share, or those of one alone?",
    "combined": "Do masks combined over types lose less?",
    "released": "Does the released form lose less?",
    "baseline": "What does a model with random weights lose?",
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
