"""Which question each kind of claim about attribution, neurons and concepts answers."""

from typing import Final

QUESTIONS: Final = {
    "pointing": "Do attribution maps point at the object asked about?",
    "deletion": "Does the answer fall faster when the patches that a map ranks first are removed than at random?",
    "insertion": "Does the answer rise faster when the patches that a map ranks first are put back than at random?",
    "modality": "How much of the answer rests on the image?",
    "neurons": "Do the chosen neurons matter more than random ones?",
    "specific": "How many neurons are specific to a domain?",
    "concept": "Do answers grow along the direction of a concept?",
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
