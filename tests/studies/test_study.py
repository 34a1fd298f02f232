"""A study is a descriptor: one from another package has the verb, the function, resume and report of one of ours."""

import json
import subprocess
import sys
import textwrap
from typing import NamedTuple

import pytest

from chiasm.core.errors import ChiasmError
from chiasm.studies.study import study, verbs

PACKAGE = {
    "counting/__init__.py": """
        from chiasm.core.schema import Column, TableSchema
        from chiasm.results.schemas import EXAMPLE, EXAMPLES
        from chiasm.studies.study import Study
        from counting.spec import CountSpec

        COUNTS = TableSchema("counts", (EXAMPLE, Column("words", "int", "Words", "", "In the question.")))
        STUDY = Study(
            "count", CountSpec, (EXAMPLES, COUNTS), compute="counting.run:compute", report="counting.report:Counts"
        )
    """,
    "counting/spec.py": '''
        from dataclasses import dataclass

        from chiasm.core.options import Section, option
        from chiasm.studies.options import ExamplesSpec, data_option


        @dataclass(frozen=True, kw_only=True)
        class CountSpec(ExamplesSpec):
            """How many words has a question?"""

            data: object = data_option("Examples.", section=Section.EXAMPLES, common=True)
            longest: int = option(99, "Leave out longer questions.", at_least=1, common=True)
    ''',
    "counting/run.py": """
        from chiasm.runners.driver import Computed
        from chiasm.runners.examples import Work, run_examples
        from chiasm.studies.inputs import data_facts, example_row, read_examples
        from counting import STUDY


        class Counting(Work[object]):
            def __init__(self, spec):
                self.spec = spec

            def prepare(self, index, example):
                return example

            def compute(self, prepared):
                kept = [one for one in prepared if len(one.question.split()) <= self.spec.longest]
                rows = [{"example_id": one.id, "words": len(one.question.split())} for one in kept]
                return Computed({"examples": [example_row(one) for one in kept], "counts": rows}, kept=len(kept))


        def compute(spec):
            chosen = read_examples(spec, spec.data)
            with STUDY.open(spec, {"data": data_facts("d", chosen), "seed": spec.seed}) as directory:
                if not directory.complete:
                    run_examples(Counting(spec), chosen, directory, spec.batch, "count")
                    directory.finish()
            return directory
    """,
    "counting/report.py": """
        from chiasm.results.findings import Finding
        from chiasm.results.report import Reporter


        class Counts(Reporter):
            title = "Words of questions"

            def findings(self):
                counts = self.table("counts")["words"]
                return [Finding(f"Questions have {counts.mean():.1f} words (n = {len(counts)}).", 1.0)]

            def drawings(self):
                return {}

            def notes(self):
                return []
    """,
    "counting-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: counting\nVersion: 1.0\n",
    "counting-1.0.dist-info/entry_points.txt": "[chiasm.studies]\ncount = counting:STUDY\n",
}


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    folder = tmp_path_factory.mktemp("elsewhere")
    for name, text in PACKAGE.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(textwrap.dedent(text))
    return folder


DRIVER = """
import contextlib, io, json, sys
from chiasm.cli.main import main
said = []
for words in json.loads(sys.argv[1]):
    out, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        try:
            main(words)
        except SystemExit as left:
            code = left.code or 0
    said.append((code, out.getvalue(), error.getvalue()))
print(json.dumps(said))
"""


class Said(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def python(start, folder, code, *arguments):
    """What a process prints that finds packages in a folder."""
    called = [sys.executable, "-c", f"{start}\n{code}", str(folder), *arguments]
    return subprocess.run(called, capture_output=True, text=True, check=True).stdout


def chiasm(start, folder, *commands):
    """What each of several commands says, one after another in one process that finds packages in a folder."""
    given = json.dumps([[str(word) for word in words] for words in commands])
    return [Said(*one) for one in json.loads(python(start, folder, DRIVER, given).splitlines()[-1])]


ELSEWHERE = "import sys; sys.path.insert(0, sys.argv.pop(1))"
HERE = "import sys, chiasm.studies; chiasm.studies.__path__.append(sys.argv.pop(1))"
CALLED = "import chiasm; print(chiasm.count(data='scenes', limit=2).tables)"


def test_a_study_of_another_package_is_one_like_ours(elsewhere, tmp_path):
    run = tmp_path / "run"
    command = ("count", "--data", "scenes", "--limit", 12, "--out", run)
    wrong = ("count", "--data", "scenes", "--longest", 0)
    helped, options, done, refused, resumed, wrong = chiasm(
        ELSEWHERE, elsewhere, ("--help",), ("count", "--help"), command, command, (*command, "--resume"), wrong
    )
    assert "How many words has a question?" in helped.stdout
    assert "--longest" in options.stdout
    assert done.returncode == 0, done.stderr
    assert "1. Questions have" in done.stdout
    page = (run / "report.html").read_text()
    assert "chiasm count" in page
    assert "--data scenes" in page
    assert "In the question." in page
    assert refused.returncode == 2
    assert resumed.returncode == 0
    assert wrong.returncode == 2
    assert "--longest" in wrong.stderr
    # In another process, as all that follows.
    (run / "report.html").unlink()
    code = f"{CALLED}\nfrom chiasm.cli.main import main; main()"
    called = python(ELSEWHERE, elsewhere, code, "report", str(run))
    assert called.splitlines()[0] == "['examples', 'counts']"
    assert "Words of questions" in (run / "report.html").read_text()
    [absent] = chiasm(ELSEWHERE, tmp_path, ("report", run))
    assert absent.returncode == 2
    assert "it is of count, a study that no installed package has (entry points `chiasm.studies`:" in absent.stderr
    assert "Install the package that has count" in absent.stderr


def test_a_study_that_cannot_be_loaded_is_named(elsewhere, tmp_path):
    (tmp_path / "broken-1.0.dist-info").mkdir()
    (tmp_path / "broken-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (tmp_path / "broken-1.0.dist-info" / "entry_points.txt").write_text("[chiasm.studies]\nbroken = broken:STUDY\n")
    done, listed = chiasm(ELSEWHERE, tmp_path, ("broken",), ("--help",))
    assert done.returncode == 2
    assert "the study `broken`: broken:STUDY cannot be loaded" in done.stderr
    assert listed.returncode == 0
    assert "flow" in listed.stdout
    assert "broken:STUDY cannot be loaded" in listed.stderr


def test_a_study_of_this_package_is_a_folder(tmp_path):
    for name, text in PACKAGE.items():
        folder, _, file = name.partition("/")
        if folder == "counting":
            (tmp_path / "count").mkdir(exist_ok=True)
            (tmp_path / "count" / file).write_text(textwrap.dedent(text).replace("counting", "chiasm.studies.count"))
    helped, options, done = chiasm(
        HERE,
        tmp_path,
        ("--help",),
        ("count", "--help"),
        ("count", "--data", "scenes", "--limit", 12, "--out", tmp_path / "run"),
    )
    assert "How many words has a question?" in helped.stdout
    assert "--longest" in options.stdout
    assert done.returncode == 0, done.stderr
    assert "1. Questions have" in done.stdout
    assert "chiasm count" in (tmp_path / "run" / "report.html").read_text()
    named, called = python(
        HERE, tmp_path, f"from chiasm.studies.study import verbs; print(*verbs())\n{CALLED}"
    ).splitlines()
    assert named.split() == [
        "flow",
        "look",
        "patch",
        "align",
        "compare",
        "paper",
        "skip",
        "prune",
        "project",
        "eval",
        "count",
    ]
    assert called == "['examples', 'counts']"


def test_unknown_studies_are_refused():
    with pytest.raises(ChiasmError, match="there are flow, look"):
        study("nothing")
    assert all(study(verb).question.endswith("?") for verb in verbs())
