"""What a notebook does with `import chiasm`."""

import inspect
import json
import subprocess
import sys
import weakref

import polars as pl
import pytest
import torch
from peft import LoraConfig, get_peft_model
from tests.support import factories

import chiasm
from chiasm.core.errors import ChiasmError
from chiasm.core.options import declared
from chiasm.results import manifest as manifests
from chiasm.studies.study import study, verbs


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHIASM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def view():
    model, processor = factories.build("llava")
    return chiasm.load(model=model, processor=processor)


def chosen(count: int = 3) -> list[chiasm.Example]:
    return [factories.example(seed=seed) for seed in range(count)]


def test_importing_is_light_and_every_name_is_there():
    probe = (
        "import sys, chiasm\n"
        "assert not {'torch', 'transformers', 'polars', 'altair'} & set(sys.modules)\n"
        "assert set(chiasm.__all__) <= set(dir(chiasm))\n"
        "for name in dir(chiasm): getattr(chiasm, name)\n"
        "print(chiasm.__version__)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with pytest.raises(AttributeError, match="no attribute `nothing`"):
        _ = chiasm.nothing


def test_a_flow_run_in_a_notebook(view):
    run = chiasm.flow(view, data=chosen(), cuts=["image->last"], window=1, keep="all", controls=False, out=None)
    assert run.tables == ["examples", "followed", "effects", "answers", "claims"]
    assert isinstance(run.table("effects"), pl.DataFrame)
    assert len(run.findings) == 3
    assert not (run.path / "report.html").exists()
    assert not list(run.path.glob("figures/*"))
    assert run.charts == ["flow", "answers", "answers-as-released"]
    assert run.chart("flow", width="3.3in", cuts=["image->last"]).to_dict()["title"]["text"]
    assert run.report() == run.path / "report.html"
    assert "complete, 3 examples" in repr(run)
    with pytest.raises(ChiasmError, match="this run has examples, followed, effects, answers"):
        run.table("nothing")
    with pytest.raises(ChiasmError, match="this run has flow, answers"):
        run.chart("nothing")


def test_a_temporary_run_goes_with_its_object(view):
    run = chiasm.flow(view, data=chosen(1), cuts=["image->last"], window=1, keep="all", controls=False)
    path, gone = run.path, weakref.ref(run.directory)
    assert path.exists()
    del run
    assert gone() is None
    assert not path.exists()


def test_a_finished_run_is_opened_again(view, tmp_path):
    out = tmp_path / "run"
    run = chiasm.flow(view, data=chosen(), cuts=["last->last"], window=1, keep="all", out=out)
    assert (out / "report.html").exists()
    again = chiasm.open(out)
    assert again.table("controls").equals(run.table("controls"))
    assert again.findings == run.findings


def test_a_sweep_over_all_windows_is_drawn_as_maps(view):
    options = {"windows": "all", "keep": "all", "controls": False}
    run = chiasm.flow(view, data=chosen(), cuts=["image->last", "question->last"], **options)
    assert "windows" in run.charts
    assert len(run.chart("windows").to_dict()["concat"]) == 2
    run.report()
    assert "windows of one layer" in (run.path / "report.html").read_text()


def test_evaluate_and_its_short_name(view):
    assert chiasm.eval is chiasm.evaluate
    run = chiasm.evaluate(view, data=chosen(), blind=True, max_new_tokens=2)
    assert {"examples", "eval", "blind"} <= set(run.tables)
    assert run.chart("accuracy").to_dict()["title"]["text"]


def test_the_embedded_baseline_is_loaded_by_name():
    view = chiasm.load("tiny-random")
    assert (view.name, view.dtype) == ("tiny-random", torch.float32)
    run = chiasm.flow(view, limit=2, keep="all", window=3, patches=1, words=2)
    assert run.directory.counts()["kept"] == 2
    assert run.table("effects")["layer"].n_unique() == view.n_layers
    assert {"patches", "words"} <= set(run.tables)
    assert "patches-0" in run.charts


def test_the_embedded_model_brings_its_baseline_along():
    """Which model stands beside another is decided by name, so any weights will do."""
    view = chiasm.load("tiny-random")
    view.name = "tiny"
    run = chiasm.flow(view, limit=2, keep="all", window=9)
    assert "twin" in set(run.table("controls")["control"])
    assert run.directory.manifest["baseline"]["id"] == "tiny-random"


def test_scenes_are_examples():
    found = list(chiasm.examples("scenes", limit=3))
    assert all(isinstance(example, chiasm.Example) for example in found)
    assert len({example.type for example in found}) == 3


def test_models_in_memory_fine_tuned_and_wrapped_by_peft_are_used_as_they_are(view):
    options = {"cuts": ["image->last"], "window": 1, "keep": "all", "controls": False}
    plain = chiasm.flow(view, data=chosen(2), **options).table("effects")
    base, processor = factories.build("llava")
    lora = LoraConfig(target_modules=["q_proj", "v_proj"], r=2, init_lora_weights=False)
    torch.manual_seed(0)
    wrapped = get_peft_model(base, lora)
    tuned = chiasm.flow(chiasm.load(model=wrapped, processor=processor), data=chosen(2), **options).table("effects")
    assert not plain["logprob_clean"].equals(tuned["logprob_clean"])
    merged = chiasm.load(model=wrapped.merge_and_unload(), processor=processor)
    again = chiasm.flow(merged, data=chosen(2), **options).table("effects")
    assert again["logprob_cut"].to_list() == pytest.approx(tuned["logprob_cut"].to_list(), abs=1e-3)


def test_check_returns_laws(view):
    laws = chiasm.check(view)
    # None: a law that says why it cannot be tried on this model.
    assert all(law.ok is not False for law in laws), [law for law in laws if law.ok is False]
    assert all(law.reason for law in laws if law.ok is None)
    assert sum(law.ok is True for law in laws) > 10


def test_load_wants_one_thing(view):
    with pytest.raises(ChiasmError, match="none was named"):
        chiasm.load()
    with pytest.raises(ChiasmError, match="both a source and a model"):
        chiasm.load("tiny", model=view.model)


def test_a_run_of_another_study_is_refused(tmp_path, view):
    out = tmp_path / "run"
    chiasm.evaluate(view, data=chosen(1), out=out)
    manifests.write(out, json.loads((out / "manifest.json").read_text()) | {"study": "other"})
    with pytest.raises(ChiasmError, match="it is of other, a study that no installed package has"):
        chiasm.open(out)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: chiasm.eval("tiny", limt=3), r"^chiasm.eval\(\) got an unexpected.*did you mean `limit=`"),
        (lambda: chiasm.flow("tiny", windw=3), r"^chiasm.flow\(\) got an unexpected.*did you mean `window=`"),
        (lambda: chiasm.skip("tiny", budgt=0.5), r"did you mean `budgets?=`"),
        (lambda: chiasm.attribute("tiny", dta="scenes"), r"^chiasm.attribute\(\) .*did you mean `data=`"),
    ],
)
def test_a_slip_in_an_option_is_answered_with_the_nearest_before_anything_is_loaded(call, said, monkeypatch):
    monkeypatch.setattr("chiasm.studies.inputs.load_checkpoint", None)
    with pytest.raises(TypeError, match=said):
        call()


def test_a_slip_in_a_name_is_answered_with_the_nearest(view):
    with pytest.raises(AttributeError, match=r"Did you mean flow\?"):
        _ = chiasm.flwo
    run = chiasm.flow(view, data=chosen(1), cuts=["image->last"], window=1, keep="all", controls=False)
    with pytest.raises(ChiasmError, match=r"Did you mean answers\?"):
        run.chart("anwsers")
    with pytest.raises(ChiasmError, match=r"what can be chosen is cuts. Did you mean cuts\?"):
        run.chart("flow", cutz=["image->last"])
    with pytest.raises(ChiasmError, match="nothing in it can be chosen but its width"):
        run.chart("answers", cuts=["image->last"])
    with pytest.raises(ChiasmError, match="there are svg, pdf, png, json, html"):
        run.chart("flow").save("flow.gif")


@pytest.mark.parametrize("verb", [verb for verb in verbs() if verb != "eval"])
def test_help_explains_every_option_and_names_the_words_that_it_takes(verb):
    explained = inspect.getdoc(getattr(chiasm, verb)) or ""
    for one in declared(study(verb).spec):
        [line] = [line for line in explained.splitlines() if line.startswith(f"- `{one.name}`")]
        assert one.option.help in line
        assert all(repr(word) in line for word in one.choices)
