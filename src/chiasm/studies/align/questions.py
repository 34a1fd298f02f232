"""Which question each kind of claim of `chiasm align` answers, in the order of the page."""

from typing import Final

QUESTIONS: Final = {
    "score": "How well are image and text aligned: how alike are their tokens?",
    "score-control": "Are they more or less alike than in the controls?",
    "change": "In which layers do image tokens change less or more than text tokens?",
    "change-control": "How much less image tokens change than text tokens: more or less than in the controls?",
    "norms": "In which layers are image tokens longer or shorter than text tokens?",
    "norms-control": "Beside text tokens, are image tokens longer or shorter than in the controls?",
    "cone": "Do tokens of one kind form a cone: are they more or less alike with their own kind than with the other?",
    "cone-control": "Is the cone narrower or wider than in the controls?",
    "shared": "Is the image more or less alike with its own text than with that of other examples?",
    "shared-control": "Is what the image has in common with its own text alone more or less than in the controls?",
    "shared-attention": "Is it more or less than where the two cannot attend to each other?",
    "neighbours": "Do image and text hold the same examples near more or less often than shuffled pairs would?",
    "neighbours-control": "Do they have more or fewer neighbours in common than in the controls?",
    "gap": "Is there a gap: how much of what tells mean tokens apart is whether they are of image or text?",
    "gap-control": "Is the gap wider or narrower than in the controls?",
    "overlap": "How much do the weights that image and text use overlap?",
    "overlap-control": "Do the weights overlap more or less than in the controls?",
    "masks": "Do they overlap more or less than what needs no image or text at all?",
    "masks-control": "What they overlap beyond what needs no image or text: is it more or less than in the controls?",
    "words-js": "In which layers do words of image and text differ more or less than those of one of them?",
    "words-js-control": "Do the words differ more or less than in the controls?",
    "words-kl": "How far are the words of one from those of the other: more or less than from its own?",
    "words-kl-control": "Are the words of one further from or nearer to those of the other than in the controls?",
    "released-change": "How far is the released form of the change of tokens off?",
    "released-masks": "How far is the released form of the masks off?",
}

CHARTS: Final = {
    "score": "How well are image and text aligned, beside the controls?",
    "similarity": "At which depth are image and text alike?",
    "neighbours": "Do image and text hold the same examples near?",
    "gap": "How much of what tells mean tokens apart is their kind?",
    "norms": "Are image tokens longer than text tokens?",
    "drift": "Do image tokens change less than text tokens from layer to layer?",
    "overlap": "Do image and text use the same weights?",
    "vocabulary": "Do image and text tokens predict the same words?",
    "geometry": "How narrow are the cones of image and text?",
}
"""The question that each figure answers, the main one first."""

DIFFERENCES: Final = frozenset({"shared-attention", "released-change", "released-masks"})
"""Kinds whose effect is a difference from what the control shows, beside those named `...-control` and `beyond`."""
