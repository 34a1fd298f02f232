"""The skipping benchmark measures what it says."""

import pytest
from bench.shapes import SHAPES, build, prompts

from bench import skip
from chiasm.interventions.published_skips import visual_ffn
from chiasm.models.view import ModelView

MINI = SHAPES["mini"]


def test_operations_saved_are_those_of_the_shape(monkeypatch):
    clock = iter([2.0, 1.5] * 6)
    monkeypatch.setattr(skip, "seconds", lambda run, device: next(clock))
    view = ModelView(build(MINI), None, "mini")
    row = skip.measure(view, prompts(MINI)[0].inputs, visual_ffn((1,)), "cpu", 3, 1)
    left_out = 2 * MINI.image_tokens * 3 * MINI.width * MINI.inner
    assert row["operations saved"] * row["operations"] == pytest.approx(left_out)
    assert row["time saved"] == row["generate saved"] == 0.25
    assert row["time saved / operations saved"] == pytest.approx(0.25 * row["operations"] / left_out)


def test_it_runs_and_writes(tmp_path, capsys):
    skip.skip(shape="mini", repeats=1, generations=1, only="FFN, half", out=tmp_path)
    assert "ratio" in capsys.readouterr().out
    assert (tmp_path / "skip.json").exists()
    table = (tmp_path / "skip.md").read_text()
    assert "| visual FFN, half of the layers |" in table
    assert " MB" in table


def test_every_published_way_fits_the_shapes():
    for shape in SHAPES.values():
        assert all(one.layers[-1] < shape.layers for one in skip.plans_of(shape.layers).values())
