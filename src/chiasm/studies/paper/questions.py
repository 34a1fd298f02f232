"""Which question each kind of claim of `chiasm paper` answers, in the order of the page."""

from typing import Final

QUESTIONS: Final = {
    "relation": "Are models with higher alignment scores more or less often right?",
    "training": "Do alignment scores rise or fall while a model is trained?",
    "cone-together": "Over all data: are tokens more or less alike with their own kind than with the other?",
    "cone-together-control": "Over all data: is the cone narrower or wider than in models with random weights?",
    "cone": "Do tokens of one kind form a cone: are they more or less alike with their own kind than with the other?",
    "cone-control": "Is the cone narrower or wider than in models with random weights?",
    "change": "In which layers do image tokens change less or more than text tokens?",
    "change-control": "How much less image tokens change than text tokens: more or less than with random weights?",
    "overlap": "How much do the weights that image and text use overlap?",
    "overlap-control": "Do the weights overlap more or less than in models with random weights?",
    "masks": "Do they overlap more or less than what needs no image or text at all?",
    "masks-control": "Do they overlap beyond that by more or less than with random weights?",
    "training-control": "Do scores rise by more or less than in models with random weights?",
    "accuracy": "How often is each model right?",
    "power": "How small a p-value can so many models give at all?",
}

CHARTS: Final = {
    "figure-9": "Do alignment scores go with right answers?",
}
"""The question that each figure answers, the main one first."""

DIFFERENCES: Final = frozenset({"training"})
"""Kinds whose effect is a difference from what the control shows, beside those named `...-control` and `beyond`."""
