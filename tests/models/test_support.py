"""What is offered of a command: only what every capability that it needs is there for."""

from types import SimpleNamespace

import pytest

from chiasm.core.errors import ChiasmError
from chiasm.models.families import FAMILIES
from chiasm.models.generic.family import generic_family
from chiasm.models.generic.rules import GenericRules
from chiasm.models.mapped import mapped_types
from chiasm.models.support import BY_FORWARDS, VERBS, against, require_able, verbs_of


def test_a_command_is_offered_where_all_that_it_needs_holds():
    every = {name: "yes" for needed in VERBS.values() for name in needed}
    assert set(verbs_of(every).values()) == {"yes"}
    one = verbs_of(every | {"skip attention": "-: its layers are conv"})
    assert {verb: why for verb, why in one.items() if why != "yes"} == {"skip (attention)": "-: its layers are conv"}
    both = verbs_of(every | {"look": "-: nothing to look at", "lens": "no: differs by 3"})
    assert both["look"] == both["align"] == "no: differs by 3"
    slow = verbs_of(every | {"one walk": "no: its layers carry two streams"})
    assert {verb: why for verb, why in slow.items() if why != "yes"} == {"flow": BY_FORWARDS}
    assert verbs_of(every | {"one walk": "no: two streams", "cuts": "no: one is open"})["flow"] == "no: one is open"


def test_no_type_is_offered_what_it_refuses():
    """Layers that mix tokens without attention: a plan for them is refused, so the table does not offer it."""
    listed = {family.name: against(family) for family in FAMILIES}
    assert listed["lfm2_vl"]["skip (attention)"].startswith("-: ")
    assert listed["lfm2_vl"]["flow"] == listed["llava"]["skip (attention)"] == "yes"
    for one in mapped_types():
        if one.capabilities:
            for verb, why in verbs_of(one.capabilities).items():
                assert why.startswith("yes") == all(one.capabilities[name] == "yes" for name in VERBS[verb]), one.type


def test_a_command_is_refused_before_it_is_run_where_something_is_missing():
    family = generic_family(SimpleNamespace(model_type="unheard_of"), GenericRules(refused={"lens": "differs by 3"}))
    require_able(family, "flow", "Use another")
    with pytest.raises(ChiasmError, match=r"lens of `unheard_of`: differs by 3\. Use another"):
        require_able(family, "align", "Use another")


def test_what_a_model_is_not_built_for_is_refused_as_well():
    rules = GenericRules(refused={"lens": "differs by 3"}, inapplicable={"skip attention": "its layers are conv"})
    able = against(generic_family(SimpleNamespace(model_type="unheard_of"), rules))
    assert {verb: why for verb, why in able.items() if why != "yes"} == {
        "align": "no: differs by 3",
        "look": "no: differs by 3",
        "skip (attention)": "no: its layers are conv",
    }
