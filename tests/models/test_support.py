"""What is offered of a command: only what every capability that it needs is there for."""

from chiasm.models.families import FAMILIES
from chiasm.models.mapped import mapped_types
from chiasm.models.support import VERBS, against, verbs_of


def test_a_command_is_offered_where_all_that_it_needs_holds():
    every = {name: "yes" for needed in VERBS.values() for name in needed}
    assert set(verbs_of(every).values()) == {"yes"}
    one = verbs_of(every | {"skip attention": "-: its layers are conv"})
    assert {verb: why for verb, why in one.items() if why != "yes"} == {"skip (attention)": "-: its layers are conv"}
    both = verbs_of(every | {"look": "-: nothing to look at", "lens": "no: differs by 3"})
    assert both["look"] == both["align"] == "no: differs by 3"


def test_no_type_is_offered_what_it_refuses():
    """Layers that mix tokens without attention: a plan for them is refused, so the table does not offer it."""
    listed = {family.name: against(family) for family in FAMILIES}
    assert listed["lfm2_vl"]["skip (attention)"].startswith("-: ")
    assert listed["lfm2_vl"]["flow"] == listed["llava"]["skip (attention)"] == "yes"
    for one in mapped_types():
        if one.capabilities:
            for verb, why in verbs_of(one.capabilities).items():
                assert (why == "yes") == all(one.capabilities[name] == "yes" for name in VERBS[verb]), one.type
