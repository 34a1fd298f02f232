"""Published numbers beside a run: compared only where model, data and quantity are the same, and by a stated rule."""

from dataclasses import replace
from decimal import Decimal

import pytest

from chiasm.core.claims import Claim
from chiasm.results.agreement import agreements
from chiasm.results.ledger import Entry, Measures, PublishedValue, ledger

CLAIM = Claim(
    kind="score",
    about="plantdoc, ft-proj",
    quantity="macro-F1",
    unit="1",
    effect=0.25,
    low=0.21,
    high=0.29,
    n=9,
    verdict="established",
)
VALUE = PublishedValue(
    of="macro-F1", value=Decimal("0.2221"), measures=Measures(kind="score", about="plantdoc, ft-proj")
)
ENTRY = Entry(
    id="x",
    paper="1",
    where="Table 1",
    claim="c",
    source="paper",
    model="LLaVA-1.5-7B",
    data="PlantDoc",
    studies=("project",),
    status="unverified",
    values=(VALUE,),
)


def said(entry=ENTRY, model="llava-hf/llava-1.5-7b-hf", data="plantdoc/", claims=(CLAIM,)):
    return [one.said for one in agreements(entry, model, data, claims)]


@pytest.mark.parametrize(
    ("value", "approximate", "expected"),
    [
        ("0.2221", False, "agrees"),
        ("0.31", False, "differs"),
        ("0.2904", False, "differs"),
        ("0.29004", False, "differs"),
        ("0.29", False, "agrees"),
        ("0.294", False, "differs"),
        ("0.2", False, "agrees"),
        ("0.20", False, "differs"),
        ("0.20", True, "agrees"),
    ],
)
def test_a_number_agrees_within_the_interval_and_the_digits_that_it_was_rounded_to(value, approximate, expected):
    given = replace(VALUE, value=Decimal(value), approximate=approximate)
    assert said(replace(ENTRY, values=(given,))) == [expected]


def test_what_differs_in_model_data_or_quantity_is_not_compared():
    assert said(model="tiny") == ["not comparable"]
    assert said(model="llava-hf/llava-1.5-13b-hf") == ["not comparable"]
    assert said(data="dtd/") == ["not comparable"]
    assert said(claims=()) == ["not comparable"]
    assert said(claims=(replace(CLAIM, low=None, high=None),)) == ["not comparable"]
    assert said(replace(ENTRY, values=(replace(VALUE, value=None),))) == ["not comparable"]
    assert said(replace(ENTRY, values=(replace(VALUE, measures=None),))) == ["not comparable"]


def test_a_tower_is_measured_in_the_model_that_holds_it():
    within = Measures(kind="score", about="plantdoc, ft-proj", model="LLaVA-1.5-7B")
    assert said(replace(ENTRY, model="CLIP ViT-L/14-336", values=(replace(VALUE, measures=within),))) == ["agrees"]


def test_entries_name_the_data_that_their_claims_are_about():
    for entry in ledger().entries:
        for value in entry.values:
            if value.measures is not None and "project" in entry.studies:
                assert value.measures.about.partition(", ")[0] in entry.about, entry.id
