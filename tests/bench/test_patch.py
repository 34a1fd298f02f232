"""The bench of activation patches, at a shape of seconds."""

import json

import pytest
from bench.patch import SPANS, jobs_of, patch, rows_bound
from bench.shapes import SHAPES, spans_of


def test_it_measures_both_directions_and_writes_what_it_found(tmp_path):
    patch(quick=True, repeats=1, out=tmp_path)
    (found,) = json.loads((tmp_path / "patch.json").read_text())["sweeps"]
    assert found["patches"] == 2 * len(SPANS) * SHAPES["mini"].layers
    assert found["difference"] < 1e-4
    assert found["effect"] > 0.01, "a patch that changes nothing measures nothing"
    assert found["passes"][0] > 2
    assert "times the bound" in (tmp_path / "patch.md").read_text()


def test_the_bound_counts_rows_that_a_patch_can_change():
    """Both clean passes, and from its layer on rows behind the first patched one, without those of a whole image."""
    shape = SHAPES["mini"]
    depths = shape.layers * (shape.layers + 1) / 2
    whole = shape.length * shape.layers
    spans = spans_of(shape)
    behind = shape.length - int(spans["image"][-1]) - 1
    assert rows_bound(shape, jobs_of(shape, ("image",))) == pytest.approx(2 + 2 * behind * depths / whole)
    part = shape.length - int(spans["image.object"][0])
    assert rows_bound(shape, jobs_of(shape, ("image.object",))) == pytest.approx(2 + 2 * part * depths / whole)
