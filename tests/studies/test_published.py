"""What was published stands beside the runs that touch it: those of the cut, the domain, the measure."""

import polars as pl
import pytest
from tests.support import flow_tables as made

from chiasm.studies.flow.spec import FlowSpec
from chiasm.studies.project.spec import ProjectSpec
from chiasm.studies.project.tables import TUNING
from chiasm.studies.study import study

EMPTY = {"string": "", "int": 0, "float": 0.0, "bool": False}


def beside(verb, spec, path, tables):
    found = study(verb)
    with found.open(spec, {}, path) as run:
        run.write_shard(0, tables)
    return {entry.id for entry in found.reporter(run).published}


def test_flow_shows_what_was_published_of_its_cuts(tmp_path):
    spec = FlowSpec(model="tiny", data="scenes", cuts=["image->last"])
    found = beside("flow", spec, tmp_path, {"effects": made.effects(cuts=["image->last"], examples=4)})
    assert {"flow-image-indirect", "flow-window-plots"} <= found
    assert not {"flow-question-direct", "flow-last-self", "flow-image-early", "flow-lower-case-first"} & found


@pytest.mark.parametrize("domain", ["surfaces", "dtd"])
def test_project_shows_the_rows_of_its_domains(tmp_path, domain):
    row = {column.name: EMPTY[column.kind] for column in TUNING.columns} | {"domain": domain, "projector": "own"}
    found = beside("project", ProjectSpec(model="tiny", domains=domain), tmp_path, {"tuning": pl.DataFrame([row])})
    assert "projection-order" in found
    assert ("projection-table-1-dtd-ft-e2e" in found) == (domain == "dtd")
    assert "projection-table-1-dermnet-ft-e2e" not in found
    assert "projection-not-richer" not in found, "it needs the table of probes"
