"""Which question each kind of claim of `chiasm look` answers, in the order of the page."""

from typing import Final

QUESTIONS: Final = {
    "share": "Does a part of the sequence take more or less attention than equal attention to all would give it?",
    "share-beyond": "Does it take more or less than with random weights?",
    "object": "Does attention on the image fall more or less on the object asked about than on the rest?",
    "object-beyond": "Does more or less of it fall there than with random weights?",
    "head": "Which heads look there more or less than the other heads of their layer?",
    "words": "Do more or fewer image tokens lie near words of the captions than with random weights?",
    "named": "Is an object's word more or less often among those nearest to its tokens than to the rest of the image?",
    "named-beyond": "Is the difference between the object and the rest more or less than with random weights?",
    "named-other": "Is it there more or less often than at tokens of other objects?",
    "named-random": "Is it there more or less often than for random directions?",
}

CHARTS: Final = {
    "object": "Is the attention on the object asked about?",
    "attention": "Which part of the sequence takes the attention, layer by layer?",
    "map-": "Where does it look in this picture?",
    "maps": "Where does it look in these pictures?",
    "words": "Do image tokens lie near words of the captions?",
    "named": "Do words at an object's tokens name it?",
    "words-": "Which word is nearest to each patch?",
}
"""The question that each figure answers, the main one first."""

DIFFERENCES: Final = frozenset({"head", "words", "named", "named-other", "named-random"})
"""Kinds whose effect is a difference from what the control shows, beside those named `...-control` and `beyond`."""
