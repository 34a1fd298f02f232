"""The table of mapped types: whole, with a reason for every no, and borne out on a few types."""

import json
from collections import Counter
from dataclasses import replace

import pytest
import torch
import transformers
from tests.support.breadth.changes import changes
from tests.support.breadth.factory import make
from tests.support.breadth.table import MAPPED, Painting, largest_difference
from tests.support.breadth.table import entry as entry_of
from tests.support.breadth.wanted import lacking

from chiasm.models.adopting.adoption import found_inputs
from chiasm.models.adopting.decoder import followed
from chiasm.models.adopting.inputs import Candidate
from chiasm.models.conformance.suite import CAPABILITIES
from chiasm.models.conformance.trial import noise, noise_example
from chiasm.models.families import FAMILIES
from chiasm.models.mapped import FILE, STATUSES, mapped_types, mapped_version

TYPES = {one.type: one for one in mapped_types()}
# Of each way into the decoder one: grids, tiles, crops, queries, sounds, tokens found by ids, inputs joined at the end,
# keys picked by an index, clips under another name, sounds of a part with another name, layers of one branch.
SAMPLE = (
    *("exaone4_5", "aya_vision", "vipllava", "ovis2", "lighton_ocr"),
    *("idefics2", "qwen3_asr", "granite_docling", "kosmos-2", "minicpmv4_6"),
    *("mistral_large4", "instructblipvideo", "granite_speech", "nemotron_h_omni"),
)
# What is seen of a model, and not what its code raises on the way.
REFUSED = {
    "blip": "its layers get it beside them",
    "git": "beside the prompt, at no token of it",
    "kyutai_speech_to_text": "its forward takes none of input_values",
    "pi0": "its forward needs `state`",
    "shieldgemma2": "a prompt of its own",
    "voxtral": "gives no text",
}


def test_every_type_that_transformers_maps_is_in_the_table():
    """A red line here after another version was installed means: run `make types`."""
    if mapped_version() != transformers.__version__:
        pytest.skip(f"the table is of transformers {mapped_version()}")
    assert list(TYPES) == sorted(MAPPED)


def test_no_status_is_without_what_it_rests_on():
    listed = {kind for family in FAMILIES for kind in family.model_types}
    for one in TYPES.values():
        assert one.status in STATUSES
        assert (one.status == "certified") == (one.type in listed), one.type
        assert (one.how == "") == (one.status == "untried"), one.type
        # What Python says of missing attributes and the like says nothing to a user.
        assert "object has no attribute" not in f"{one.reason} {' '.join(one.capabilities.values())}", one.type
        if one.status in ("refused", "untried"):
            assert len(one.reason) > 10, one.type
        else:
            assert set(CAPABILITIES) <= one.capabilities.keys(), one.type
            assert one.takes
            assert all(why in ("yes",) or len(why.partition(": ")[2]) > 3 for why in one.capabilities.values())


def test_accepted_types_are_right_in_values_and_places():
    accepted = [one for one in TYPES.values() if one.status == "accepted"]
    assert len(accepted) + Counter(one.status for one in TYPES.values())["certified"] >= 60
    for one in accepted:
        assert one.values <= 1e-4 or one.exact <= 1e-9, one.type
        if one.places != "unknown":
            assert one.pictures > 0, one.type
            assert one.found >= 0.95, one.type


def test_rows_are_json():
    rows = [one.row() for one in TYPES.values()]
    assert json.loads(json.dumps(rows)) == rows
    assert {"type", "status", "capabilities", "reason"} <= rows[0].keys()


# Processors warn of what they do with a clip, which here would be a reason against it.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("model_type", SAMPLE)
def test_a_type_is_as_the_table_says(model_type):
    """By the rules of its inputs alone, whose trial is short; the whole trial of all types is heavy."""
    if lacking(model_type):
        pytest.skip(f"it needs `{lacking(model_type)}`, which is not installed")
    made = make(model_type)
    candidate = Candidate(made.model, made.processor, model_type, None)
    rules = followed(candidate, found_inputs(candidate))
    # Of what its processor has a part for, the suite may leave out a kind that is computed wrong.
    assert set(TYPES[model_type].takes) <= set(rules.modalities)
    assert largest_difference(candidate.view(rules)) <= 1e-4


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("model_type", REFUSED)
def test_a_refusal_says_what_was_seen(model_type):
    found = entry_of(model_type, Painting(0))
    assert found["status"] == TYPES[model_type].status == "refused"
    assert found["reason"] == TYPES[model_type].reason
    assert REFUSED[model_type] in found["reason"]
    assert found["how"] == "trial"


@pytest.mark.filterwarnings("ignore")
def test_noise_that_the_forward_has_an_option_for_is_switched_off():
    made = make("vibevoice_asr")
    candidate = Candidate(made.model, made.processor, "vibevoice_asr", None)
    rules = found_inputs(candidate)
    assert rules.switches == {"sample": False}
    encoded = candidate.view(rules).encode(noise_example("audio", (noise("audio", 0),)))
    assert encoded.inputs["sample"] is False
    noisy = {name: value for name, value in encoded.inputs.items() if name != "sample"}
    with torch.no_grad():
        still, again, one, other = (made.model(**given).logits for given in (encoded.inputs,) * 2 + (noisy,) * 2)
    assert torch.equal(still, again)
    assert not torch.equal(one, other)


@pytest.mark.filterwarnings("ignore")
def test_an_indexer_is_given_the_positions_of_all_keys():
    made = make("qwen4_exp")
    candidate = Candidate(made.model, made.processor, "qwen4_exp", None)
    rules = followed(candidate, found_inputs(candidate))
    with pytest.raises(IndexError):
        largest_difference(candidate.view(rules))
    rules = replace(rules, key_arguments=("position_embeddings",))
    assert largest_difference(candidate.view(rules)) <= 1e-4


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("model_type", [name for name, one in TYPES.items() if one.status != "certified"])
def test_every_type_is_as_the_table_says(model_type):
    if lacking(model_type):
        pytest.skip(f"it needs `{lacking(model_type)}`, which is not installed")
    torch.set_num_threads(1)
    found, one = entry_of(model_type, Painting(3)), TYPES[model_type]
    assert found["status"] == one.status, found["reason"]
    assert found["capabilities"] == one.capabilities
    assert found["places"] == one.places


def test_what_changes_between_versions_is_said():
    before = json.loads(FILE.read_text())
    assert list(changes(before, before)) == []
    name = next(one.type for one in TYPES.values() if one.status == "accepted")
    after = json.loads(FILE.read_text())
    after["types"]["fresh"] = after["types"].pop(name) | {"reason": "new here"}
    assert set(changes(before, after)) == {
        "- `fresh` is new: accepted new here",
        f"- `{name}` is no longer mapped",
    }
    after = json.loads(FILE.read_text())
    after["types"][name]["capabilities"]["look"] = "no: gone"
    assert list(changes(before, after)) == [f"- `{name}`, look: was 'yes', is 'no: gone'"]
