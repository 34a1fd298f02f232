"""What CONTRIBUTING says is enough to add a thing is enough (a study: tests/studies/test_study.py)."""

import dataclasses
import inspect
import re
from pathlib import Path

import pytest
from tests.support import factories

from chiasm.api.verbs import study_function
from chiasm.cli.verbs import command
from chiasm.core.errors import ChiasmError
from chiasm.core.options import option, resolved
from chiasm.results import report
from chiasm.studies.flow import STUDY
from chiasm.studies.flow.spec import FlowSpec
from chiasm.studies.study import study, verbs

ROOT = Path(__file__).parents[2]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wider(FlowSpec):
    """Is one line enough?"""

    strength: float = option(1.0, "How much of the attention is cut.", at_least=0, below=2)
    layers: list[int] | tuple[int, ...] = option((), "Only these layers.", formerly=("only",))


def test_an_option_is_one_line(tmp_path):
    wider = dataclasses.replace(STUDY, spec=Wider)
    flags = inspect.signature(command(wider, every=True)).parameters
    assert flags["strength"].annotation.__metadata__[0].name == ("--strength",)
    assert flags["layers"].annotation.__metadata__[0].name == ("--layer",)
    function = study_function("flow", Wider)
    assert inspect.signature(function).parameters["strength"].annotation is float
    assert "`strength` (default 1.0): How much of the attention is cut." in function.__doc__
    spec = Wider(model="tiny", strength=0.5, layers=[3, 4])
    assert (resolved(spec)["strength"], resolved(spec)["layers"]) == (0.5, [3, 4])
    assert Wider.read({"model": "tiny", "only": [1]}).layers == (1,)
    with pytest.raises(ChiasmError, match="--strength 2"):
        Wider(model="tiny", strength=2)
    with wider.open(spec, {}, tmp_path / "run") as directory:
        line = report.command_line(directory, spec)
    assert line == "chiasm flow tiny --strength 0.5 --layer 3 --layer 4"


def test_an_example_line_of_the_page_is_the_line_of_the_code():
    [line] = re.findall(r"```python\n(window: .*)\n```", (ROOT / "CONTRIBUTING.md").read_text())
    assert line in (ROOT / "src/chiasm/studies/flow/spec.py").read_text()


def test_a_chart_is_a_function_and_an_entry():
    """Every figure of a report is drawn by a function of the study's charts, or of what studies share."""
    for verb in verbs():
        text = (ROOT / "src/chiasm/studies" / verb / "report.py").read_text()
        assert "Drawing(" in text, verb
        assert (ROOT / "src/chiasm/studies" / verb / "charts.py").exists() or (
            ROOT / "src/chiasm/studies" / verb / "charts"
        ).is_dir()


def test_a_family_is_a_file_and_a_maker():
    from chiasm.models.families import FAMILIES

    files = {Path(inspect.getfile(type(family))).stem for family in FAMILIES}
    assert len(files) == len(FAMILIES)
    registry = (ROOT / "src/chiasm/models/families/__init__.py").read_text()
    assert not [name for name in files if re.search(rf"\b{name}\b", registry)]
    assert {family.name for family in FAMILIES} == set(factories.EVERY)


def test_a_measure_is_a_class_a_line_and_columns():
    from chiasm.measures import registry
    from chiasm.measures.base import Measure

    listed = (ROOT / "src/chiasm/measures/registry.py").read_text()
    kinds = [kind for kind in Measure.__subclasses__() if kind.__module__.startswith("chiasm.")]
    assert len(kinds) > 5
    assert all(re.search(rf"\b{kind.__name__}\(", listed) for kind in kinds)
    assert registry.sampled(3) == (0, 1, 2, 3)
    tables = {schema.name for schema in study("align").tables}
    assert {"norms", "drift", "similarity", "vocabulary", "overlap", "score"} <= tables
