"""Metrics of answers and descriptions: VQA accuracy, exact match, CIDEr-D, POPE and CHAIR. No torch, no tokens."""

from chiasm.data.metrics.answers import normalised, vqa_accuracy, yes_or_no
from chiasm.data.metrics.base import (
    Answered,
    AnswerRatio,
    check_names,
    describes,
    estimate,
    fitting,
    headline,
    measure,
    names,
)
from chiasm.data.metrics.captions import cider_d, tokens
from chiasm.data.metrics.objects import Objects, objects, objects_for, read_objects
