"""The words of a page: names that its tables and charts use, each with what it means. They stand here alone."""

import re
from collections.abc import Iterable
from typing import Final

WORDS: Final = {
    # Verdicts.
    "established": "The 95 % interval leaves out 0, the effect is worth naming, and it goes beyond every control.",
    "practically none": "The whole 95 % interval lies within what is too small to be worth naming.",
    "not established": "Neither of the two: there may be an effect or none, and this run cannot tell.",
    "uncontrolled": "The interval leaves out 0, but nothing stands beside it that shows what no effect looks like.",
    "not tested": "A count, a bound or a choice made beforehand: nothing that an interval could speak for.",
    # Controls.
    "as many random keys": "The same rows, with as many other keys cut that are drawn at random.",
    "the same cut on a blank image": "The cut where the image is one grey: what taking attention away does by itself.",
    "random-weights baseline": "Models of the same shape with random weights: what the architecture does by itself.",
    "a donor of the same answer": "The states of an input that is answered alike: what any exchange of states does.",
    "as many random tokens": "As many other positions, drawn at random, whose states are exchanged.",
    "an unrelated donor": "The states of another example's input: what any input brings.",
    "random perceptual tokens": "Random vectors in place of the image's (video's, sound's) tokens, as long as those.",
    "modality isolation": "In the first layers image and text cannot attend to each other.",
    "uniform guessing": "What naming a class at random scores.",
    "the most frequent answer": "What giving the most frequent answer of each type gets, without looking.",
    # Parts of the sequence, in reading order.
    "prefix": "The tokens before the image.",
    "image": "The tokens that the model's encoder made of the image.",
    "video": "The tokens that the model's encoder made of the video.",
    "audio": "The tokens that the model's encoder made of the sound.",
    "image.object": "The image tokens that lie on the object asked about.",
    "image.other": "The image tokens that lie elsewhere.",
    "between": "The tokens around image and question that belong to neither: line breaks, roles, ends of an image.",
    "question": "The tokens of the question alone.",
    "question.options": "The tokens of the options that the question names.",
    "question.objects": "The tokens of the question that name objects.",
    "suffix": "The tokens behind the question but for the last: the instruction, the end of the user's turn.",
    "last": "The last token of the prompt, from which the answer begins.",
    # Units.
    "nat": "Unit of log-probabilities: 1 nat less leaves 37 % of a probability, 0.05 nat less 95 %.",
    "points": "Hundredths of a whole: from 50 % to 60 % are 10 points.",
    "layer": "One block of the decoder; the first has number 0.",
    "state": "What enters a layer: state 0 are the embeddings, state k is what layer k-1 gives.",
    # Patching.
    "denoise": "Own states are put into the donor's run (another input), and what comes back of the answer counts.",
    "noise": "The donor's states (of another input) are put into the own run, and what is lost of the answer counts.",
    "the pairs": "Two inputs each, the own and the donor's; the gap is what the answer loses from one to the other.",
    # Scores of alignment.
    "ima_0": "Cosine of the mean image token as it enters the decoder with the mean text token at every depth.",
    "ima_same": "Cosine of the mean image token and the mean text token at the same depth.",
    # GQA's types of questions.
    "ChooseAttr": "Questions that ask which of two attributes an object has.",
    "ChooseCat": "Questions that ask which of two categories an object is of.",
    "ChooseRel": "Questions that ask which of two relations holds between objects.",
    "CompareAttr": "Questions that compare an attribute of two objects.",
    "LogicalObj": "Questions that ask whether one object or another is there.",
    "QueryAttr": "Open questions for an attribute, as where an object is.",
    # Plans of skipped work.
    "search-N": "N % of the operations on these tokens that could be left out are, where the answer needs them least.",
    "random-N-K": "Layers drawn at random, at as many operations as search-N (control); K counts the draws.",
    "visual-ffn-half": "The feed-forward is left out for image tokens in every second layer.",
    "visual-ffn-all": "The feed-forward is left out for image tokens in all layers.",
    "text-ffn-half": "The feed-forward is left out for text tokens in every second layer.",
    "text-ffn-all": "The feed-forward is left out for text tokens in all layers.",
    "v-skip-deep": "Image tokens do not attend in the deeper half of the layers, and keep their feed-forward (V-Skip).",
    "blocks-half": "Every second layer is left out for all tokens.",
    "ffn": "The feed-forward part (MLP) of a layer.",
    "operations": "Multiplications and additions of one prompt until the first token, of the plain model's.",
    "parallel-half": "In every second layer attention and feed-forward read the same input; nothing is left out.",
    "parallel-blocks": "Layers in pairs, both of which read the first one's input, in the deeper half.",
    "short-v": "Image tokens stay as they are in the layers where that changes the answer least (ShortV).",
    "fast-v-N": "N % of the image tokens, those that the last one attends to least, are dropped early (FastV).",
    "random-drop-N-K": "N % of the image tokens, drawn at random, are dropped early (control); K counts the draws.",
    # Their times.
    "slower by no more than equal calls differ": "The interval lies above 0, but two calls of one plan differ as much.",
    "too noisy": "Two equal calls of the plain model differ by more than the plan changes.",
    # Masks of weights.
    "dense": "The model with all its weights.",
    "wanda": "Weights are zeroed by their magnitude times the norm of what they read (Wanda).",
    "wanda-centred": "Wanda with the norm of what a weight reads taken about its mean.",
    "magnitude": "The smallest weights of every matrix are zeroed.",
    "magnitude-row": "The smallest weights of every row of a matrix are zeroed.",
    "intersection": "What the masks of all question types keep.",
    "majority": "What most of the masks of the question types keep.",
    "mean-score": "A mask by the mean of the types' scores.",
    # Settings of tuning.
    "zero-shot": "The untouched model.",
    "ft-proj": "The projector alone is tuned.",
    "ft-proj-released": "The projector alone is tuned, on the image and the label without the question, as released.",
    "ft-proj-lowlr": "The projector alone is tuned, at the rate and batch of ft-e2e.",
    "ft-e2e": "Projector and decoder are tuned.",
    "ft-lora": "The projector and low-rank adapters in the decoder are tuned.",
    "ft-tower": "Everything that the answer depends on is tuned, the vision tower too.",
    "macro-F1": "The mean over classes of F1, which weighs what is found against what is named wrongly.",
    "TCAV": "The share of examples whose answer grows along the direction of a concept.",
}
"""By the name, in which N and K stand for numbers."""
# What stands between names in a cell: "image → last", "ima_0 of image and question", "search-91 (control)".
_BETWEEN: Final = re.compile(r"->|[→+,:;()]|\s(?:of|and|to|in|from|against|under|with)\s")


def words_of(texts: Iterable[str]) -> list[tuple[str, str]]:
    """The names of `WORDS` that stand in some texts, each with its meaning, in their order.

    `texts`: names of things, as cells of tables hold them. A part of a text counts where it is a name as a whole: the
    image of "image blanked" are no tokens, and in prose a word like "last" need not be a name.
    """
    there = {part.strip() for text in texts for part in _BETWEEN.split(text)}
    return [(word, meaning) for word, meaning in WORDS.items() if any(_is(word, name) for name in there)]


def _is(word: str, name: str) -> bool:
    if word.endswith(("-N", "-K")):
        return re.fullmatch(re.sub("-[NK]", r"-\\d+", word), name) is not None
    return name == word
