"""What can be measured of answers: names, whether more is better, and what each stands for in a comparison."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

MetricKind = Literal["performance", "hallucination", "description"]


@dataclass(frozen=True, slots=True)
class AnswerMetric:
    """One number about answers. `percent`: a share, written in %; others are written as they are."""

    title: str
    kind: MetricKind
    more_is_better: bool
    description: str
    percent: bool = True


ANSWER_METRICS: Mapping[str, AnswerMetric] = MappingProxyType(
    {
        "accuracy": AnswerMetric("right answers", "performance", True, "Equal to the label, stripped, in lower case."),
        "exact_match": AnswerMetric("exact match", "performance", True, "Equal to the label in VQA's normal form."),
        "vqa_accuracy": AnswerMetric("VQA accuracy", "performance", True, "min(annotators who gave it / 3, 1)."),
        "cider_d": AnswerMetric("CIDEr-D", "performance", True, "Similarity to references, 0 to 10.", percent=False),
        "pope_f1": AnswerMetric("POPE F1", "hallucination", True, "2 TP / (2 TP + FP + FN); positive is yes."),
        "pope_accuracy": AnswerMetric("POPE accuracy", "hallucination", True, "Right answers about objects."),
        "pope_precision": AnswerMetric("POPE precision", "hallucination", True, "Of objects claimed, those there."),
        "pope_recall": AnswerMetric("POPE recall", "performance", True, "Of objects there, those claimed."),
        "pope_yes_share": AnswerMetric("POPE share of yes", "description", False, "Answers that say yes; half should."),
        "pope_unclear": AnswerMetric("POPE unclear", "description", False, "Hedged or empty, or no yes and no no."),
        "chair_i": AnswerMetric("CHAIR_i", "hallucination", False, "Of objects named, those that are not there."),
        "chair_s": AnswerMetric("CHAIR_s", "hallucination", False, "Texts that name an object that is not there."),
        "chair_recall": AnswerMetric("objects named", "performance", True, "Of objects there, those named."),
        "caption_words": AnswerMetric("words", "description", False, "Words per generated text.", percent=False),
    }
)  # fmt: skip
