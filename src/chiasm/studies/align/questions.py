"""Which question each kind of claim of `chiasm align` answers, in the order of the page."""

from typing import Final

QUESTIONS: Final = {
    "score": "How well are image and text aligned: how alike are their tokens?",
    "score-control": "Are they more alike than in the controls?",
    "change": "In which layers do image tokens change less than text tokens?",
    "change-control": "Do image tokens change less than text tokens by more than in the controls?",
    "norms": "In which layers are image tokens longer or shorter than text tokens?",
    "norms-control": "Do lengths of image and text tokens differ more than in the controls?",
    "cone": "Do tokens of one kind form a cone: are they nearer to their own kind than to the other?",
    "cone-control": "Is the cone narrower than in the controls?",
    "shared": "Is the image nearer to its own text than to that of other examples?",
    "shared-control": "Is the image nearer to its own text by more than in the controls?",
    "shared-attention": "Does it need attention between the two: what is left where they cannot attend to each other?",
    "overlap": "How much do the weights that image and text use overlap?",
    "overlap-control": "Do the weights overlap more than in the controls?",
    "masks": "Do they overlap beyond what needs no image or text at all?",
    "masks-control": "Do they overlap beyond what needs no image or text by more than in the controls?",
    "words-js": "In which layers do image and text tokens predict different words?",
    "words-js-control": "Do the words differ more than in the controls?",
    "words-kl": "How far are the words of one from those of the other?",
    "words-kl-control": "Are the words of one further from those of the other than in the controls?",
    "released-change": "How far is the released form of the change of tokens off?",
    "released-masks": "How far is the released form of the masks off?",
}

CHARTS: Final = {
    "score": "How well are image and text aligned, beside the controls?",
    "similarity": "At which depth are image and text alike?",
    "norms": "Are image tokens longer than text tokens?",
    "drift": "Do image tokens change less than text tokens from layer to layer?",
    "overlap": "Do image and text use the same weights?",
    "vocabulary": "Do image and text tokens predict the same words?",
    "geometry": "How narrow are the cones of image and text?",
}
"""The question that each figure answers, the main one first."""
