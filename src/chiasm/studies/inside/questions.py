"""Which question each kind of claim about attribution, neurons and concepts answers."""

from typing import Final

QUESTIONS: Final = {
    "pointing": "Do attribution maps point more or less at the object asked about than its size explains?",
    "deletion": "Does the answer fall faster or slower with the patches that a map ranks first than with random ones?",
    "insertion": "Does it come back faster or slower with the patches that a map ranks first than with random ones?",
    "modality": "How much of the answer rests on the image?",
    "neurons": "Does the answer lose less or more without the chosen neurons than without random ones?",
    "specific": "How many neurons are specific to a domain?",
    "concept": "Do more or fewer answers grow along the direction of a concept than along random ones?",
    "kept": "How many specific neurons stay the same through tuning?",
    "complete": "How many maps add up to the answer?",
    "error": "How far do maps miss the answer?",
}

CHARTS: Final = {
    "pointing-": "Do attribution maps point at the object asked about?",
    "faithfulness-": "Does the answer rest on the patches that a map ranks first?",
    "modalities-": "How much of the answer rests on the image?",
    "neurons-": "Do the chosen neurons matter more than random ones?",
    "concepts-": "Do answers grow along the direction of a concept?",
    "map-": "Which patches speak for the answer?",
}
"""The question that each figure answers, the main one first."""

DIFFERENCES: Final = frozenset({"deletion", "insertion", "modality", "neurons", "specific", "concept"})
"""Kinds whose effect is a difference from what the control shows, beside those named `...-control` and `beyond`."""
