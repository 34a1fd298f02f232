"""Which question each kind of claim of `chiasm eval` answers, in the order of the page."""

from typing import Final

QUESTIONS: Final = {
    "right": "How many answers are right?",
    "gain": "Is that more or less than the most frequent answer of each type gets?",
    "type-right": "How many are right in each type?",
    "type-gain": "In which types is that more or less than the most frequent answer gets?",
    "seen": "Does the image help: are more or fewer right than with the image blanked?",
    "unseen": "How many are right with the image blanked?",
    "unseen-gain": "Is that more or less than the most frequent answer gets, with the image blanked?",
    "type-seen": "In which types does the image help: are more or fewer right than with it blanked?",
    "type-unseen": "How many are right in each type with the image blanked?",
    "type-unseen-gain": "With it blanked, in which types is that more or less than the most frequent answer gets?",
    "types": "Do the best and the worst type differ?",
    "measure": "How good are the answers by the measures that fit the data?",
    "measure-seen": "Does the image help: are those measures higher or lower than with it blanked?",
    "context": "What describes the answers beside those measures?",
}

CHARTS: Final = {
    "accuracy": "How many answers are right in each type, and how many without the image?",
    "measures": "How good are the answers by the measures that fit the data?",
    "scales": "How good are they on measures with scales of their own?",
}
"""The question that each figure answers, the main one first."""

DIFFERENCES: Final = frozenset(
    {"gain", "type-gain", "seen", "type-seen", "unseen-gain", "type-unseen-gain", "types", "measure-seen"}
)
"""Kinds whose effect is a difference from what the control shows, beside those named `...-control` and `beyond`."""
