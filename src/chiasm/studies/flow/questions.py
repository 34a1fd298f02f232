"""Which question each kind of claim of `chiasm flow` answers, in the order of the page."""

from typing import Final

QUESTIONS: Final = {
    "effect": "What does the answer gain or lose when a route is cut, and in which layers?",
    "beyond": "Does it lose less or more than under the control that comes nearest?",
    "type": "The largest effects by type of question: does the answer gain or lose with each?",
    "types": "Do types of questions differ in what a cut costs them?",
    "peak": "In which layer does each cut cost most?",
    "order": "Which route is used earlier in depth?",
    "part": "Does a cut of a part, as the object asked about, cost less or more than that of the whole?",
    "head": "What does the answer gain or lose when a single head is changed?",
    "head-beyond": "Does it lose less or more by that than under the control that comes nearest?",
    "head-held-out": "What does it gain or lose by the heads that were chosen on the other half of the inputs?",
    "head-held-out-beyond": "Does it lose less or more by those than under the control that comes nearest?",
    "word": "Which words of the answer gain or lose when a route is cut, and in which layers?",
    "word-beyond": "Do they lose less or more than under the control that comes nearest?",
    "word-contrast": "Do objects that are not there lose less or more than objects that are?",
    "word-contrast-beyond": "Do they differ by less or more than under the controls?",
    "word-scale": "What do words of the answer gain or lose by another example's input?",
    "word-base": "How probable are they before anything is cut?",
    "word-count": "How many words of each group do the answers have?",
    "word-reach": "How large could a group's effect be in one more model with random weights?",
    "form": "From which layer on does the capitalised answer lead or trail the lower-case one?",
    "form-beyond": "Does it lead by more or less than with random weights?",
    "map": "In how many images does the answer rest on a single patch?",
    "map-beyond": "Is that more or less often than with random weights?",
    "map-reach": "How much does any patch change in a model with random weights?",
    "map-methods": "Do the two ways to make a map agree?",
    "map-boxes": "How much of the image do the boxes of the objects asked about cover?",
    "map-hit": "How often does the strongest patch lie on the object asked about?",
    "map-object": "Does the strongest patch lie there more or less often than the size of the boxes explains?",
    "map-object-beyond": "Does it lie there more or less often than with random weights?",
    "effect-control": "Does it lose less or more than under the other controls beside that cut?",
    "scale": "How much is there to lose: what does the answer gain or lose by another example's input?",
    "averaged": "What does the answer gain or lose when the cut keys are averaged and nothing is blocked?",
    "knockout": "What does the answer gain or lose when a span is hidden from all rows behind it, and not replaced?",
    "value-path": "Does it lose less or more when a span's states are replaced than when the span is hidden?",
    "sufficient": "How many answers stay right with only some routes open?",
    "sufficient-control": "Are they more or fewer than with as many random routes, or none?",
    "sufficient-lost": "Are they more or fewer than with all routes open?",
    "sufficient-loss": "What does the answer gain or lose with only these routes open?",
    "sufficient-size": "How many routes did the search leave open?",
    "head-reach": "How large could a head's effect be in one more model with random weights?",
    "head-held-out-reach": "How large could it be there, on the other half of the inputs?",
    "reach": "How large could the effect be in one more model with random weights?",
    "published": "How large is the effect in the measure that the paper reports?",
    "noise": "How much do two runs without any cut differ?",
    "rounding": "How much may rounding move an effect?",
    "smallest": "How small an effect is still worth naming here?",
}

CHARTS: Final = {
    "flow": "At which layers does each route carry the answer?",
    "flow-by-type": "Does it hold for every type of question?",
    "flow-controls": "Is it more than any control shows?",
    "sufficient": "How few routes keep the answers?",
    "answer-words": "Which words of the answer depend on the image, and where?",
    "heads": "Which heads of which layers carry each route?",
    "answers": "At which layer is the answer there?",
    "dose": "How much of a route must be cut?",
    "patches-": "Which patches of this picture does the answer rest on?",
    "patches": "Which patches of the pictures does the answer rest on?",
    "windows-": "Which ranges of layers carry the route?",
    "words": "From which layer on does the question name what is shown?",
    "answers-as-released": "At which layer is the answer there, as released?",
}
"""The question that each figure answers, the main one first."""

DIFFERENCES: Final = frozenset({"part", "types", "map-methods", "value-path", "sufficient-lost", "word-contrast"})
"""Kinds whose effect is a difference from what the control shows, beside those named `...-control` and `beyond`."""

UNTESTED: Final = frozenset(
    {
        "noise",
        "rounding",
        "smallest",
        "reach",
        "head-reach",
        "head-held-out-reach",
        "word-reach",
        "word-count",
        "sufficient-size",
        "map-reach",
    }
)
"""Kinds that are counts, bounds or choices, of which nothing could be established."""
