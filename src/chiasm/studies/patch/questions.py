"""Which question each kind of claim of `chiasm patch` answers, in the order of the page."""

from typing import Final

QUESTIONS: Final = {
    "gap": "Is the own answer more or less probable with the own image than in the donor's run?",
    "recovery": "How much of the answer do the states of a span bring with them at a layer?",
    "beyond": "Do they bring more or less than the nearest control does?",
    "recovery-control": "Do they bring more or less than the other controls do?",
    "recovery-scale": "Is more or less lost than with an unrelated donor, which is a scale of it and no control?",
    "odds": "How much of the log-odds of the two answers do they bring?",
    "most": "How far above or below half of the gap is the share?",
    "type": "How much of the answer do they bring in questions of one type?",
    "types": "Do two question types differ in how much they bring?",
    "agreement": "Do patching and attention knockout point at the same layers?",
    "agreement-layer": "How many layers lie between what patching and what knockout name first?",
    "agreement-no-cut": "Does cutting attention change the answer in any layer, so that layers can be compared?",
    "agreement-no-patch": "Does patching move the answer in any layer, so that layers can be compared?",
    "screen": "Does the gradient rank patches as exact patches do?",
    "screen-error": "How far is the gradient's word from the exact patch?",
    "small-gap": "Of how many pairs could no share be taken?",
    "smallest": "Which share of the gap is the smallest worth naming?",
}

CHARTS: Final = {
    "recovery": "Which states bring the answer with them, layer by layer?",
    "controls": "Does each share exceed what its controls bring?",
    "types": "Do question types differ in where the answer is carried?",
    "agreement": "Do patching and knockout point at the same layers?",
    "screen": "Does the gradient say what exact patches say?",
    "tokens-": "Which tokens of the image carry the answer in this picture?",
}
"""The question that each figure answers, the main one first."""

DIFFERENCES: Final = frozenset({"beyond", "recovery-control", "recovery-scale", "types", "agreement-layer"})
"""Kinds whose effect is a difference from what a control (or the other method, or another type) shows."""

UNTESTED: Final = frozenset({"small-gap", "smallest"})
"""Kinds that are counts, bounds or choices, of which nothing could be established."""
