"""What CONTRIBUTING says is enough to add a thing is enough (a study: tests/studies/test_study.py)."""

import dataclasses
import inspect
import itertools
import re
from pathlib import Path

import polars as pl
import pytest
from tests.support import factories

from chiasm.api.verbs import study_function
from chiasm.cli.verbs import command
from chiasm.core.errors import ChiasmError
from chiasm.core.options import option, resolved
from chiasm.core.schema import TableSchema, integer, text
from chiasm.results.page import reproduce
from chiasm.studies.flow import STUDY
from chiasm.studies.flow.spec import FlowSpec
from chiasm.studies.study import verbs

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
        line = reproduce.command_line(directory, spec)
    assert line == "chiasm flow tiny --strength 0.5 --layer 3 --layer 4"


def test_an_example_line_of_the_page_is_the_line_of_the_code():
    [line] = re.findall(r"```python\n(draws: .*)\n```", (ROOT / "CONTRIBUTING.md").read_text())
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


LENGTHS = '''
"""How many tokens spans have."""

import numpy as np

from chiasm.measures.base import Measure, MeasureConfig, MeasureCost


class Lengths(Measure):
    """Tokens of a span, over all examples."""

    name = "lengths"

    @classmethod
    def for_model(cls, config: MeasureConfig):
        return cls()

    def cost(self, sizes):
        return MeasureCost(0.0, 0.0)

    def update(self, seen):
        pass

    def end_batch(self, batch):
        for segment in batch.segments:
            if batch.is_valid(segment):
                self.sums.add(segment.span, [batch.units[segment.example]], np.array([[segment.stop - segment.start]]))

    def tables(self):
        return {"lengths": [{"span": span, "tokens": int(sums.sum())} for span, sums in self.sums.arrays.items()]}
'''


def test_a_measure_is_a_file_and_columns(monkeypatch, tmp_path):
    import chiasm
    import chiasm.measures
    from chiasm.studies.align import STUDY as ALIGN
    from chiasm.studies.align.run import run_align
    from chiasm.studies.align.spec import AlignSpec

    (tmp_path / "lengths.py").write_text(LENGTHS)
    monkeypatch.setattr(chiasm.measures, "__path__", [*chiasm.measures.__path__, str(tmp_path)])
    columns = TableSchema.of("lengths", text("span", "Span", "Which."), integer("tokens", "Tokens", "How many."))
    wider = dataclasses.replace(ALIGN, tables=(*ALIGN.tables, columns))
    spec = AlignSpec(model="tiny", controls=False, inside=False, vocabulary_tokens=0)
    examples = list(itertools.islice(chiasm.examples("scenes"), 4))
    with wider.open(spec, {}, tmp_path / "run") as directory:
        work = run_align(spec, chiasm.load("tiny"), examples, directory)
    assert [measure.name for measure in work.measures][-1] == "lengths"
    table, extents = directory.table("lengths"), directory.table("extents")
    assert dict(table.iter_rows()) == dict(extents.group_by("span").agg(pl.col("tokens").sum()).iter_rows())
