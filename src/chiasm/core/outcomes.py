"""What can be measured of answers: names, whether more is better, and what each stands for in a comparison."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Kind = Literal["performance", "hallucination", "description"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One measure of answers. `percent`: a share, told in %; others are told as they are."""

    title: str
    kind: Kind
    more_is_better: bool
    description: str
    percent: bool = True

    def told(self, value: float) -> str:
        """The value as reports write it."""
        return f"{100 * value:.1f} %" if self.percent else f"{value:.2f}"


OUTCOMES: Mapping[str, Outcome] = MappingProxyType(
    {
        "accuracy": Outcome("right answers", "performance", True, "Equal to the label, stripped and in lower case."),
        "exact_match": Outcome("exact match", "performance", True, "Equal to the label in VQA's normal form."),
        "vqa_accuracy": Outcome("VQA accuracy", "performance", True, "min(annotators who gave the answer / 3, 1)."),
        "cider_d": Outcome("CIDEr-D", "performance", True, "Likeness to reference captions, 0 to 10.", percent=False),
        "pope_f1": Outcome("POPE F1", "hallucination", True, "2 TP / (2 TP + FP + FN); positive is yes."),
        "pope_accuracy": Outcome("POPE accuracy", "hallucination", True, "Right answers to questions for objects."),
        "pope_precision": Outcome("POPE precision", "hallucination", True, "Of objects said to be there, true ones."),
        "pope_recall": Outcome("POPE recall", "performance", True, "Of objects that are there, those said to be."),
        "pope_yes_share": Outcome("POPE share of yes", "description", False, "Answers that say yes; half should."),
        "pope_unclear": Outcome("POPE unclear", "description", False, "Neither yes nor no; counted as yes."),
        "chair_i": Outcome("CHAIR_i", "hallucination", False, "Of objects named, those that are not there."),
        "chair_s": Outcome("CHAIR_s", "hallucination", False, "Texts that name an object that is not there."),
        "chair_recall": Outcome("objects named", "performance", True, "Of objects there, those that the text names."),
        "caption_words": Outcome("words", "description", False, "Words per generated text.", percent=False),
    }
)  # fmt: skip
