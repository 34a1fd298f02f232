"""Which question each kind of claim of `chiasm paper` answers, in the order of the page."""

from typing import Final

QUESTIONS: Final = {
    "relation": "Are models with higher alignment scores more often right?",
    "training": "Do alignment scores grow while a model is trained?",
    "cone-together": "Over all data: are tokens of one kind nearer to their own kind than to the other?",
    "cone-together-control": "Over all data: is the cone narrower than in models with random weights?",
    "cone": "Do tokens of one kind form a cone: are they nearer to their own kind than to the other?",
    "cone-control": "Is the cone narrower than in models with random weights?",
    "change": "In which layers do image tokens change less than text tokens?",
    "change-control": "Do image tokens change less than text tokens by more than in models with random weights?",
    "overlap": "How much do the weights that image and text use overlap?",
    "overlap-control": "Do the weights overlap more than in models with random weights?",
    "masks": "Do they overlap beyond what needs no image or text at all?",
    "masks-control": "Do they overlap beyond what needs no image or text by more than in models with random weights?",
    "training-control": "Do scores grow more than in models with random weights?",
    "accuracy": "How often is each model right?",
    "power": "How small a p-value can so many models give at all?",
}

CHARTS: Final = {
    "figure-9": "Do alignment scores go with right answers?",
}
"""The question that each figure answers, the main one first."""
