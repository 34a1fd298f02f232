"""What a run will take is said before it begins, part by part, and what it took afterwards."""

import logging

import pytest
from tests.studies.flow import flow_runs

from chiasm.studies.flow.plan import plan
from chiasm.studies.flow.price import BASELINE, BLANKED, CUTS, LENS, MAPS, NOOPS, SWAPPED, price
from chiasm.studies.flow.report import FlowReporter
from chiasm.studies.flow.spec import FlowSpec


def planned(**options):
    view = flow_runs.view_of()
    (example,) = flow_runs.examples(1)
    spec = FlowSpec(model="tiny", window=1, **options)
    return plan(spec, spec.interventions(), view.kinds, 0, example, view.encode(example)), view


def test_variants_cost_the_rows_that_they_carry_in_the_layers_that_they_pass():
    found, view = planned(cuts=("question->last",), controls=False)
    length = found.job.encoded.length
    cuts = 1 + (4 + 3 + 2 + 1) / (4 * length)
    noop = 1 / (4 * length)
    assert price(found, view.n_layers, 7, decoding=False).parts == pytest.approx({CUTS: cuts, NOOPS: noop})


def test_what_stands_beside_is_named_with_its_price():
    found, view = planned(cuts=("image->question",))
    bare, _ = planned(cuts=("image->question",), controls=False)
    said = price(found, view.n_layers, 7, decoding=True, beside=[(BLANKED, bare)], swapped=True)
    assert set(said.parts) == {CUTS, NOOPS, "controls in their walk", BLANKED, SWAPPED}
    assert said.parts[BLANKED] == pytest.approx(sum(price(bare, view.n_layers, 7, decoding=False).parts.values()))
    assert said.parts[SWAPPED] == 1
    text = str(said)
    assert text.startswith(f"Price: 7 examples, about {sum(said.parts.values()):.1f} clean passes each: the cuts ")
    assert "answered first" in text
    assert "answered first" not in str(said._replace(decoding=False))


def test_what_only_the_first_examples_have_is_shared_among_all():
    found, view = planned(cuts=("question->last",), controls=False)
    whole, tenth = (
        price(found, view.n_layers, 80, decoding=False, beside=[(BASELINE, found)], firsts=firsts).parts
        for firsts in ({}, {NOOPS: 8, MAPS: 3})
    )
    # In a walk of its own beside the cuts the same variants are as rare.
    beside = whole[BASELINE] - 0.9 * whole[NOOPS]
    assert tenth == pytest.approx(whole | {NOOPS: whole[NOOPS] / 10, BASELINE: beside})


def test_a_run_says_both(caplog: pytest.LogCaptureFixture):
    view, random = flow_runs.view_of(), flow_runs.view_of(seed=1)
    with caplog.at_level(logging.INFO, logger="chiasm"):
        directory = flow_runs.run(view, flow_runs.examples(3), baseline=random)
    assert [line for line in caplog.messages if line.startswith("Price: 3 examples")]
    parts, seconds = directory.manifest["parts"], directory.manifest["seconds"]
    assert set(parts) == {CUTS, BLANKED, SWAPPED, BASELINE, LENS}
    assert min(parts.values()) > 0
    assert sum(parts.values()) <= seconds["compute"] + 0.01
    spec = FlowSpec(model=view, data=[], keep="all", window=3)
    (note,) = [one for one in FlowReporter(directory, spec).notes() if one.startswith("Time of the last session")]
    assert all(part in note for part in parts)
