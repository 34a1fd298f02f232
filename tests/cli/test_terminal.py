"""What is written where while a verb runs: a first line at once, words or one JSON object at the end."""

import json
import os
import subprocess
import sys

import pytest
from tests.support import factories

import chiasm
from chiasm.cli.application import application
from chiasm.cli.main import main
from chiasm.cli.output import print_json
from chiasm.studies.study import verbs

OTHERS = ("chart", "check", "demo", "diff", "doctor", "models", "report")
PROBE = """
import os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "transformers"):
            sys.stderr.flush()
            os._exit(7)
sys.meta_path.insert(0, Watch())
from chiasm.cli.main import main
main(sys.argv[1:])
"""

PRICE = """
import logging, os, resource, sys
def emit(handler, record):
    used = resource.getrusage(resource.RUSAGE_SELF)
    os.write(2, record.getMessage().encode())
    os.write(1, str(used.ru_utime + used.ru_stime).encode())
    os._exit(0)
logging.StreamHandler.emit = emit
from chiasm.cli.main import main
main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    model, processor = factories.build("llava")
    view = chiasm.load(model=model, processor=processor)
    chosen = [factories.example(seed=seed) for seed in range(3)]
    out = tmp_path_factory.mktemp("terminal") / "run"
    return chiasm.evaluate(view, chosen, max_new_tokens=2, out=out).path


@pytest.mark.parametrize("verb", [*verbs(), "check", "demo", "doctor", "models"])
def test_the_first_line_is_there_before_torch(verb, tmp_path):
    words = [verb, *(["tiny"] if verb not in ("paper", "demo", "doctor", "models") else [])]
    if verb == "compare":
        words.append("tiny-random")
    done = subprocess.run([sys.executable, "-c", PROBE, *words], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 7, "torch was not asked for"
    assert done.stderr.startswith(f"chiasm {verb}"), done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("verb", [*verbs(), *OTHERS])
def test_the_first_line_takes_less_than_two_seconds_of_processor_time(verb, run, tmp_path):
    more = {"compare": ["tiny", "tiny-random"], "report": [str(run)], "diff": [str(run), str(run)]}
    more["chart"] = [str(run), "accuracy"]
    words = more.get(verb, [] if verb in ("paper", "demo", "doctor", "models") else ["tiny"])
    done = subprocess.run([sys.executable, "-c", PRICE, verb, *words], capture_output=True, text=True, cwd=tmp_path)
    assert done.stderr.startswith(f"chiasm {verb}"), done.stderr
    assert 0 < float(done.stdout) < 2


def test_json_is_all_that_stands_on_standard_output(run, capsys):
    with pytest.raises(SystemExit) as left:
        main(["report", str(run), "--json"])
    assert left.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["study", "path", "status", "counts", "headline", "findings", "claims", "report"]
    opened = chiasm.open(run)
    assert (found["study"], found["status"], found["path"]) == ("eval", "complete", str(run))
    assert found["counts"]["kept"] == 3
    assert found["headline"] == opened.reporter.headline()
    assert found["findings"][0] == opened.findings[0]
    assert found["claims"] == opened.claims.to_dicts()


def test_json_has_null_for_what_is_no_number(capsys):
    print_json({"one": float("nan"), "two": [float("inf"), -1.5], "three": {"four": float("-inf")}})
    assert json.loads(capsys.readouterr().out) == {"one": None, "two": [None, -1.5], "three": {"four": None}}


@pytest.mark.parametrize("verb", [*verbs(), *OTHERS])
def test_every_verb_has_json(verb, capsys):
    application([verb])([verb, "--help"])
    assert "--json" in capsys.readouterr().out


WRONG = {
    ("eval", "tinny"): ("load the model `tinny`", "Did you mean tiny?"),
    ("check", "tinny"): ("load the model `tinny`", "Did you mean tiny?"),
    ("align", "tiny", "--spann", "image"): ("chiasm align tiny --spann image --json", "Did you mean --span?"),
    ("report", "nowhere"): ("read the run in `nowhere`", "Name the --out of a run"),
    ("chart", "nowhere"): ("read the run in `nowhere`", "Name the --out of a run"),
    ("diff", "nowhere"): ("read the run in `nowhere`", "Name the --out of a run"),
    ("flow", "tiny", "--cut", "imag->last"): ("--cut imag->last", "Did you mean image?"),
    ("flow", "tiny", "--limit", "x"): ("chiasm flow tiny --limit x --json", "See `chiasm flow --help-all`"),
    ("flwo",): ("chiasm flwo --json", 'Did you mean "flow"?'),
    **{(verb, "--nonsense"): (f"chiasm {verb} --nonsense --json", "") for verb in (*verbs(), *OTHERS)},
}


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_a_mistake_is_one_object_for_programs(words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main([*words, "--json"])
    assert left.value.code == 2
    printed = capsys.readouterr()
    [(key, error)] = json.loads(printed.out).items()
    assert (key, list(error)) == ("error", ["asked", "found", "todo"])
    assert all(error.values())
    asked, todo = WRONG[words]
    assert error["asked"] == asked
    assert todo in error["todo"]
    assert printed.err, "people are told as well"
    with pytest.raises(SystemExit):
        main(list(words))
    assert capsys.readouterr().out == ""


def test_being_stopped_is_told_to_programs(capsys, monkeypatch):
    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("chiasm.cli.doctor._examined", stop)
    with pytest.raises(SystemExit) as left:
        main(["doctor", "--json"])
    assert left.value.code == 130
    assert json.loads(capsys.readouterr().out)["error"]["found"] == "it was interrupted"


@pytest.mark.parametrize("words", [("report", "RUN"), ("report", "RUN", "--json"), ("flow", "--help-all")])
def test_output_that_no_one_reads_ends_quietly(words, run):
    """The reading end is closed before the first word."""
    read, write = os.pipe()
    os.close(read)
    asked = [sys.executable, "-c", "from chiasm.cli.main import main; main()", *words]
    done = subprocess.run([str(run) if word == "RUN" else word for word in asked], stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert done.returncode == 141
    assert b"Traceback" not in done.stderr
    assert b"BrokenPipe" not in done.stderr


def test_doctor_gives_numbers_to_programs(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["doctor", "--json"])
    assert left.value.code == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"]
    assert found["writable"]
    assert found["packages"]["torch"]
    assert found["disk"]["free"] > 0


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_verbs_options_and_their_values(shell, capsys):
    with pytest.raises(SystemExit) as left:
        main(["completion", shell])
    assert left.value.code == 0
    script = capsys.readouterr().out
    for word in ("flow", "window", "centred", "prefix"):
        assert word in script


def test_completion_completes_in_bash():
    script = application(every=True).generate_completion(shell="bash")
    asked = 'COMP_WORDS=(chiasm flow tiny --wind); COMP_CWORD=3; _chiasm; printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(["bash", "-c", f"{script}\n{asked}"], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["--window", "--windows"]
