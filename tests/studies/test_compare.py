"""Several models on the same examples: score, accuracy and what so few points can say."""

import pytest
from tests.support.factories import build, example

from chiasm import api
from chiasm.core.errors import ChiasmError
from chiasm.models.view import ModelView
from chiasm.results.rundir import RunDirectory
from chiasm.studies import compare as study

EXAMPLES = [example(seed=seed) for seed in range(6)]


@pytest.fixture(scope="module")
def views():
    return [ModelView(*build("llava", seed=seed, layers=2), name=f"m{seed}") for seed in range(4)]


def test_tables_figures_and_findings(views, tmp_path):
    run = api.compare(views, EXAMPLES, out=tmp_path / "run")
    rows, related = run.table("compare"), run.table("correlation")
    assert set(rows["model"]) == {"m0", "m1", "m2", "m3"}
    assert set(rows["n"]) == {6}
    assert rows.height == 4 * 6
    assert set(related["models"]) == {4}
    alone = api.align(views[2], EXAMPLES, controls=False).table("score")
    assert rows.filter(rows["model"] == "m2")["value"].to_list() == pytest.approx(alone["value"].to_list(), abs=1e-9)
    assert any("too few" in finding for finding in run.findings) or related["spearman"].null_count()
    for name in run.figures:
        run.figure(name)
    page = (tmp_path / "run" / "report.html").read_text()
    assert "chiasm align --compare m0 m1 m2 m3" in page
    assert not (tmp_path / "run" / "shards").exists()


def test_a_stopped_comparison_repeats_no_finished_model(views, tmp_path, monkeypatch):
    read = []
    align = study.run_align

    def counted(spec, *args):
        read.append(spec.model)
        if len(read) == 3:
            raise KeyboardInterrupt
        align(spec, *args)

    monkeypatch.setattr(study, "run_align", counted)
    with pytest.raises(KeyboardInterrupt):
        api.compare(views, EXAMPLES, out=tmp_path / "run")
    assert RunDirectory.load(tmp_path / "run").manifest["status"] == "interrupted"
    run = api.compare(views, EXAMPLES, out=tmp_path / "run", resume=True)
    assert read == ["m0", "m1", "m2", "m2", "m3"]
    assert run.table("compare")["model"].n_unique() == 4


def test_one_model_is_no_comparison(views):
    with pytest.raises(ChiasmError, match="two or more"):
        api.compare(views[:1], EXAMPLES)
