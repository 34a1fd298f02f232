"""Which question each kind of claim of `chiasm project` answers, in the order of the page."""

from typing import Final

from chiasm.studies.inside import questions as inside

QUESTIONS: Final = {
    "score": "How well does each setting answer: macro-F1?",
    "gain": "Does tuning help: is each setting better or worse than the untouched model?",
    "pair": "Which setting is better or worse than which?",
    "richness": "Is the projector's output richer after tuning: does a probe read more or less from it?",
    "richness-control": "Is that more or less than probes of shuffled labels find?",
    "held": "Does a probe read more or less than the model answers?",
    "held-labels": "Does a probe read more or less than the model answers when it must name a label?",
    "reference": "How well does the tower alone answer, without a language model?",
    "labels": "How often is the most probable label right?",
    "invalid": "How many answers name no class?",
    "form": "How much of what is lost is the form of the answers?",
    "skill": "What does tuning cost elsewhere: are more or fewer of the held-out scenes right?",
    "projector": "Does a probe read more or less behind the projector than before it?",
    "read": "What do probes read at each place?",
    "learned": "Do probes read more or less behind this projector than behind a random one?",
    "state": "What do probes read in each hidden state?",
    "held-shuffled": "Is what a probe reads more or less than with shuffled labels?",
    "capacity": "How well does a projector of each size answer?",
    "capacities": "Which projector is better or worse than which other?",
    "trend": "Does the score rise or fall with the size of the projector?",
    "diverged": "Which settings broke off, and when?",
    "trained": "On how many images is each probe trained?",
    **inside.QUESTIONS,
}

CHARTS: Final = {
    "verdict": "Where is what the tower sees lost on its way to the answer?",
    "confusion": "What is taken for what?",
    "tuning": "Which setting learns the domain?",
    "richness": "Is the projector's output richer after tuning?",
    "layers": "Where in the model can the classes be read?",
    "drift": "Does what probes read change with how far the weights move?",
    "capacity": "Is a larger projector better?",
    **inside.CHARTS,
}
"""The question that each figure answers, the main one first."""

DIFFERENCES: Final = frozenset(
    {"gain", "pair", "held", "held-labels", "form", "skill", "learned", "capacities", *inside.DIFFERENCES}
)
"""Kinds whose effect is a difference from what the control shows, beside those named `...-control` and `beyond`."""
