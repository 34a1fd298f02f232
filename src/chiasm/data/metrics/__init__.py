"""Metrics of answers and descriptions: VQA accuracy, exact match, CIDEr-D, POPE and CHAIR. No torch, no tokens."""

from chiasm.data.metrics.answers import vqa_accuracy
from chiasm.data.metrics.base import Answered, Measure, check_names, estimate, headline, measure, names
from chiasm.data.metrics.captions import cider_d
from chiasm.data.metrics.choice import fitting, objects_for
from chiasm.data.metrics.objects import Objects, objects, read_objects
from chiasm.data.metrics.words import normalised, tokens
from chiasm.data.metrics.yes_no import says_yes
