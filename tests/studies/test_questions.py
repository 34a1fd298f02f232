"""Every kind of claim that a study can make has a question."""

import ast
from importlib import import_module
from pathlib import Path

import pytest

import chiasm.studies
from chiasm.results.ways import ways_of
from chiasm.studies.study import verbs

ROOT = Path(chiasm.studies.__path__[0])
FOLDERS = sorted(path.parent.name for path in ROOT.glob("*/questions.py"))
TREES = {path: ast.parse(path.read_text("utf-8")) for path in ROOT.rglob("*.py")}


def takers() -> set[str]:
    """Functions and classes whose first argument is the kind of a claim."""
    found = set()
    for tree in TREES.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name != "of_kind":
                names = [argument.arg for argument in node.args.args if argument.arg != "self"]
                if names[:1] in (["kind"], ["prefix"]):
                    found.add(node.name)
            elif isinstance(node, ast.ClassDef):
                fields = [one.target for one in node.body if isinstance(one, ast.AnnAssign)]
                if fields and isinstance(fields[0], ast.Name) and fields[0].id == "kind":
                    found.add(node.name)
    return found


def given(node: ast.AST, names: set[str]) -> list[ast.expr]:
    """The expressions that name the kind of a claim in a call or a mapping."""
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return [value for key, value in pairs if isinstance(key, ast.Constant) and key.value == "kind"]
    if not isinstance(node, ast.Call):
        return []
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    found = [word.value for word in node.keywords if word.arg == "kind"] if name in ("Claim", "replace") else []
    return found + (node.args[:1] if name in names else [])


def written(folder: str) -> tuple[set[str], set[str]]:
    """Kinds written out in the modules of claims of a study, and the fixed ends of those that are put together."""
    kinds, ends, names = set(), set(), takers() | {"Claim", "claims", "against"}
    for path, tree in TREES.items():
        if path.parent.name != folder or path.stem in ("charts", "findings", "tables", "report", "choice", "verdict"):
            continue
        for expression in (one for node in ast.walk(tree) for one in given(node, names)):
            if isinstance(expression, ast.Constant) and isinstance(expression.value, str):
                kinds.add(expression.value)
            elif isinstance(expression, ast.JoinedStr) and isinstance(expression.values[-1], ast.Constant):
                ends.add(expression.values[-1].value)
    return kinds, ends


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_kind_of_claim_has_a_question(folder):
    questions = import_module(f"chiasm.studies.{folder}.questions").QUESTIONS
    kinds, ends = written(folder)
    assert kinds - {"", "all", "type-"} <= set(questions)
    for end in ends:
        assert any(kind.endswith(end) for kind in questions), end


@pytest.mark.parametrize("folder", FOLDERS)
def test_questions_are_questions_and_each_stands_once(folder):
    questions = import_module(f"chiasm.studies.{folder}.questions").QUESTIONS
    assert all(text.endswith("?") and text[0].isupper() for text in questions.values())
    assert len(set(questions.values())) == len(questions)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_question_that_compares_asks_both_ways(folder):
    """Else the opposite of what was asked would be `established` as if it were the answer."""
    questions = import_module(f"chiasm.studies.{folder}.questions").QUESTIONS
    one_sided = [text for text in questions.values() if " than " in text and ways_of(text) is None]
    assert one_sided == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_differences_are_kinds_of_claims(folder):
    questions = import_module(f"chiasm.studies.{folder}.questions")
    assert set(getattr(questions, "DIFFERENCES", ())) <= set(questions.QUESTIONS)


def test_every_study_that_makes_claims_has_questions():
    assert set(verbs()) <= set(FOLDERS)
