"""Models and data that cannot be there are refused before anything is loaded."""

import json

import pytest

import chiasm
from chiasm.core.errors import ChiasmError
from chiasm.studies.names import require_names
from chiasm.studies.study import study


@pytest.fixture
def no_load(monkeypatch):
    """Loading fails the test."""

    def load(*args, **more):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("chiasm.studies.inputs.load_checkpoint", load)


@pytest.mark.parametrize(
    ("verb", "options", "said"),
    [
        ("eval", {"model": "tinny"}, "Did you mean tiny?"),
        ("flow", {"model": "tiny", "baseline": "tiny-rndom"}, "Did you mean tiny-random?"),
        ("compare", {"models": ["tiny", "tiny@aligne"]}, "Did you mean tiny@aligned?"),
        ("look", {"model": "./nowhere"}, "there is no such directory"),
        ("eval", {"model": "tiny", "data": "scens"}, "Did you mean scenes?"),
        ("prune", {"model": "tiny", "calibrate_on": "scens"}, "Did you mean scenes?"),
        ("eval", {"model": "tiny", "data": "scenes", "media": "nowhere"}, ""),
    ],
)
def test_what_is_not_there_is_refused(verb, options, said, no_load, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = study(verb).spec(**options)
    if not said:
        require_names(spec)
        return
    with pytest.raises(ChiasmError) as caught:
        require_names(spec)
    assert said in str(caught.value)
    with pytest.raises(ChiasmError) as also:
        getattr(chiasm, verb)(**options)
    assert str(also.value) == str(caught.value)


def test_hub_ids_models_in_memory_and_examples_are_let_through(no_load):
    example = chiasm.Example(id="a", question="What?", answer="red", images=())
    require_names(study("flow").spec(model="owner/name", data=[example], baseline="random"))
    require_names(study("compare").spec(models=["tiny", "owner/name"]))


def test_a_wrong_field_shows_in_the_first_line_of_a_file(no_load, tmp_path):
    file = tmp_path / "made.jsonl"
    file.write_text(json.dumps({"id": "a", "qestion": "What is it?"}) + "\n")
    with pytest.raises(ChiasmError, match="Did you mean `question`"):
        require_names(study("eval").spec(model="tiny", data=str(file)))


@pytest.mark.parametrize(("files", "said"), [((), "it holds nothing"), (("notes.txt",), "notes.txt: no known layout")])
def test_a_folder_without_data_is_refused_by_the_names_in_it(files, said, no_load, tmp_path):
    for name in files:
        (tmp_path / name).write_text("")
    with pytest.raises(ChiasmError, match=said):
        require_names(study("eval").spec(model="tiny", data=str(tmp_path)))


def test_a_folder_of_archives_is_not_read_beforehand(no_load, tmp_path):
    (tmp_path / "part-0.tar").write_text("no archive")
    require_names(study("eval").spec(model="tiny", data=str(tmp_path)))
