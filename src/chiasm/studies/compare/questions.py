"""Which question each kind of claim of `chiasm compare` answers, in the order of the page."""

from typing import Final

QUESTIONS: Final = {
    "relation": "Are models with higher alignment scores more or less often right?",
    "outcome": "Do other measures of the models' answers rise or fall with alignment scores?",
    "accuracy": "How often is each model right?",
    "score": "How well aligned is each model?",
    "power": "How small a p-value can so many models give at all?",
}

CHARTS: Final = {
    "compare-": "Do models with higher alignment scores answer better?",
}
"""The question that each figure answers, the main one first."""
