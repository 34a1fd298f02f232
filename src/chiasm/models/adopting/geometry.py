"""Which rule for places holds: of those that fit the tokens, the one that painted boxes bear out best."""

import logging
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np
from PIL import Image

from chiasm.core.errors import ChiasmError, ExampleError
from chiasm.models.adopting.inputs import Candidate
from chiasm.models.adopting.refusals import UnansweredError, answering
from chiasm.models.conformance.painting import MIN_SHARE, Painter, layout_of, patches_alone
from chiasm.models.conformance.trial import noise
from chiasm.models.generic.places import RULES, UNKNOWN
from chiasm.models.generic.rules import GenericRules
from chiasm.models.view import ModelView

_log: Final = logging.getLogger(__name__)
SIZES: Final = ((37, 740), (611, 97), (55, 55), (401, 233), (90, 320), (1000, 70))
"""Pictures (wide, tall) that a rule must hold for besides those of the suite: odd sides, up to 1 to 20."""
_MIN_OWN: Final = 0.95
"""Share of tokens, over all pictures, that must change most when their own place is painted."""
_SMALL: Final = (28, 28)


def placed(candidate: Candidate, rules: GenericRules) -> GenericRules:
    """`rules` with the places that paintings bear out; unknown where none does."""
    if "image" not in rules.modalities:
        return rules
    rules = replace(rules, per_tile=tokens_per_tile(candidate, rules))
    view = candidate.view(rules)
    best, most = UNKNOWN, 0.0
    with patches_alone(view.towers):
        painters = list(_painters(view))
        for name in RULES:
            score = _score(candidate, replace(rules, places=name), painters)
            if score > most:
                best, most = name, score
            if most == 1.0:
                # None can be better, and a simpler one comes first.
                break
    return replace(rules, places=best)


def _painters(view: ModelView) -> Iterator[Painter]:
    """The suite's two pictures, and those of odd sizes that processor and model take."""
    yield Painter(view, noise("image", 0), 0)
    yield Painter(view, noise("image", 1), 1)
    for number, (width, height) in enumerate(SIZES):
        rng = np.random.default_rng(100 + number)
        picture = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        try:
            with answering(f"a picture of {width} x {height}"):
                yield Painter(view, picture, number + 2)
        except UnansweredError as error:
            # Some models take no picture that is so narrow, or so small.
            _log.debug("Not painted: %s", error)


def _score(candidate: Candidate, rules: GenericRules, painters: list[Painter]) -> float:
    """The share of tokens found at their own places over all pictures; 0 for a rule that does not hold.

    A rule must place the tokens of both of the suite's pictures, and be right wherever it places any.
    """
    view = candidate.view(rules)
    owns: list[float] = []
    for number, painter in enumerate(painters):
        layout = layout_of(view, painter.image)
        if not layout.has_places:
            if number < 2:
                return 0.0
            continue
        if any(share < MIN_SHARE for share in painter.shares(layout)):
            return 0.0
        own = list(painter.own_shares(layout))
        if any(share < MIN_SHARE for share in own):
            return 0.0
        owns += own
    if not owns or np.mean(owns) < _MIN_OWN:
        return 0.0
    return float(np.mean(owns))


def tokens_per_tile(candidate: Candidate, rules: GenericRules) -> int:
    """How many tokens a tile has, by how many a small picture and larger ones have: their greatest common divisor."""
    view = candidate.view(rules)
    counts = []
    for width, height in (*SIZES, _SMALL, (240, 180), (300, 900), (900, 300)):
        rng = np.random.default_rng(7)
        picture = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        try:
            counts.append(len(layout_of(view, picture).positions))
        except (ExampleError, ChiasmError):
            continue
    return math.gcd(*counts) if counts else 0
