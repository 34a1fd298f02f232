"""Which examples a study is given."""

import pytest

from chiasm.core.errors import ChiasmError
from chiasm.studies.flow.spec import FlowSpec
from chiasm.studies.inputs import load, read_examples


def test_examples_are_chosen_by_their_ids_in_the_order_asked_for():
    whole = read_examples(FlowSpec(model="tiny", data="scenes", limit=6), "scenes")
    wanted = [whole[4].id, whole[1].id, whole[4].id]
    found = read_examples(FlowSpec(model="tiny", data="scenes", limit=6, ids=wanted), "scenes")
    assert [one.id for one in found] == [whole[4].id, whole[1].id]
    assert found[0].question == whole[4].question


def test_an_id_that_no_example_has_is_answered_with_the_nearest():
    spec = FlowSpec(model="tiny", data="scenes", limit=3, ids=["scenes-heldout-0-00001"])
    with pytest.raises(ChiasmError, match=r"none of the 3 examples has it.*Did you mean scenes-heldout-0-000001"):
        read_examples(spec, "scenes")
    with pytest.raises(ChiasmError, match="raise --limit"):
        read_examples(FlowSpec(model="tiny", data="scenes", limit=3, ids=["nothing like it"]), "scenes")


@pytest.mark.parametrize(
    ("name", "meant"), [("tinny", "tiny"), ("tiny-randm", "tiny-random"), ("tiny@frozn", "tiny@frozen")]
)
def test_a_slip_in_a_model_name_is_answered_at_once(name, meant):
    with pytest.raises(ChiasmError, match=rf"Did you mean {meant}\?"):
        load(name)
