"""The benchmarks of precision and of a GPU run at a toy size, and say what they measured."""

import json

import pytest
import torch
from bench.precision import MODES, compare, loaded, sheet_of
from bench.shapes import SHAPES, build, prompts

from bench import gpu
from chiasm.models.view import ModelView


def test_raised_is_as_exact_as_a_copy_and_holds_half(monkeypatch: pytest.MonkeyPatch) -> None:
    view = ModelView(build(SHAPES["mini"], "cpu", torch.bfloat16), None, "mini")
    one = compare("mini", view, prompts(SHAPES["mini"], 1, "cpu", view.dtype), repeats=1)
    served, raised, wide = (one.costs[mode] for mode in MODES)
    assert served.held == raised.held == wide.held / 2
    assert raised.largest < 1e-6 < served.mean
    assert one.size > 10 * served.mean
    assert min(cost.peak for cost in one.costs.values()) > 0
    assert [row[0] for row in sheet_of(one).rows] == list(MODES)


def test_a_checkpoint_is_cast_and_asked_about_scenes() -> None:
    view, encoded = loaded("tiny", 2, torch.bfloat16)
    assert view.precision.raised
    assert [one.inputs["pixel_values"].dtype for one in encoded] == [torch.float32] * 2


def test_all_parts_of_the_gpu_script_run_at_a_toy_size(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    gpu.gpu(toy=True, repeats=1, out=tmp_path)
    body = json.loads((tmp_path / "gpu.json").read_text())
    assert body[gpu.SERVED]["error"] > 1e-4 > body[gpu.RAISED]["error"]
    assert body[gpu.RAISED]["guard"][1] <= body[gpu.RAISED]["guard"][2] < body[gpu.SERVED]["guard"][2]
    assert len(body["skip"]) == gpu.SKIPPED
    assert set(body["align, as served"]) == set(body["align, raised"]) == set(gpu.READ)
    text = (tmp_path / "gpu.md").read_text()
    assert all(part in text for part in (gpu.SERVED, gpu.RAISED, gpu.TF32, "Skipping", "align, raised", "% |"))
    assert "left out" not in capsys.readouterr().out


def test_nothing_is_begun_behind_the_time(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    gpu.gpu(toy=True, repeats=1, minutes=-1, out=tmp_path)
    assert capsys.readouterr().out.count("left out") == 6
    assert not (tmp_path / "gpu.json").exists()
