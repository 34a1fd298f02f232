"""Effects by question type: what is there in one type alone, and what is not."""

import numpy as np
import pytest

from chiasm.core.claims import MIN_INPUTS, Claim, of_kind
from chiasm.core.claims_by_type import Chosen, claims_by_type

N = 60


def effect(about="image->last", control=None):
    return Claim(
        kind="effect", about=about, where="2", quantity="q", unit="nat", effect=-1.0, n=N, verdict="established",
        control=control,
    )  # fmt: skip


def values(of_type, rng, spread=0.1):
    """Of examples of two types by turns, the mean that `of_type` gives each."""
    return np.array([of_type[k % 2] for k in range(N)]) + spread * rng.normal(size=N)


TYPES = ["a" if k % 2 == 0 else "b" for k in range(N)]
INPUTS = [f"i{k}" for k in range(N)]
TOLD = {"quantity": "change", "unit": "nat", "least": 0.05, "error": 0.01, "seed": 0}


def test_a_type_that_alone_has_the_effect_is_told_from_the_other():
    rng = np.random.default_rng(0)
    one = Chosen(effect(control="other"), values((-2.0, 0.0), rng, 0.02), np.ones(N, dtype=bool), {"a": -0.1, "b": 0.0})
    found = claims_by_type([one], TYPES, INPUTS, **TOLD)
    by_type = {claim.about: claim for claim in of_kind(found, "type")}
    assert by_type["image->last, a"].verdict == "established"
    assert by_type["image->last, b"].verdict == "practically none"
    [differ] = of_kind(found, "types")
    assert differ.about == "image->last, a against b"
    assert differ.effect == pytest.approx(-2.0, abs=0.1)
    assert (differ.verdict, differ.n, differ.inputs) == ("established", N, N)


def test_of_several_effects_each_has_its_own_pair_and_all_hold_at_once():
    rng = np.random.default_rng(1)
    there = np.ones(N, dtype=bool)
    own = Chosen(effect("x"), values((-2.0, 0.0), rng), there, {})
    other = Chosen(effect("y"), values((1.0, 1.0), rng), there, {})
    both = claims_by_type([own, other], TYPES, INPUTS, **TOLD)
    assert [one.about.partition(",")[0] for one in of_kind(both, "types")] == ["x", "y"]
    assert [one.verdict for one in of_kind(both, "types")] == ["established", "not established"]
    alone = claims_by_type([other], TYPES, INPUTS, **TOLD)
    width = {len(found): max(one.high - one.low for one in of_kind(found, "types")) for found in (alone, both)}
    assert width[6] > width[3], "what holds for more pairs at once is wider"


def test_a_control_that_shows_as_much_in_a_type_is_not_passed_there():
    one = Chosen(effect(control="c"), values((-1.0, -1.0), np.random.default_rng(2)), np.ones(N, bool), {"a": -1.5})
    by_type = {claim.about: claim.verdict for claim in of_kind(claims_by_type([one], TYPES, INPUTS, **TOLD), "type")}
    assert by_type == {"image->last, a": "not established", "image->last, b": "uncontrolled"}


def test_types_of_few_inputs_are_left_out_and_one_alone_says_nothing():
    rng = np.random.default_rng(3)
    few = ["a" if k < MIN_INPUTS - 1 else "b" for k in range(N)]
    one = Chosen(effect(), values((-1.0, -1.0), rng), np.ones(N, dtype=bool), {})
    assert not claims_by_type([one], few, INPUTS, **TOLD)
    absent = Chosen(effect(), values((-1.0, 0.0), rng), np.array([kind == "a" for kind in TYPES]), {})
    assert not claims_by_type([absent], TYPES, INPUTS, **TOLD)
    assert not claims_by_type([], TYPES, INPUTS, **TOLD)
