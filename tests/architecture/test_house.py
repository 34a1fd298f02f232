"""The house rules that a machine can hold."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from chiasm.studies.study import verbs

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src" / "chiasm").rglob("*.py"))


def test_imports_point_down():
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "module", ["chiasm", "chiasm.core.spans", "chiasm.results", "chiasm.data", "chiasm.interventions"]
)
def test_light_modules_stay_light(module):
    """Importing them loads neither torch nor transformers."""
    assert not loads_torch(module)


def test_what_loads_torch_is_seen():
    assert loads_torch("torch")


def loads_torch(module):
    probe = f"import sys, {module}; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    return subprocess.run([sys.executable, "-c", probe], check=False).returncode == 1


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT / "src" / "chiasm")))
def test_files_can_be_held_in_the_head(path):
    assert len(path.read_text().splitlines()) <= 450


def test_every_study_has_the_same_rooms():
    for verb in verbs():
        folder = ROOT / "src" / "chiasm" / "studies" / verb
        assert {"spec.py", "tables.py", "findings.py", "report.py", "run.py"} <= {p.name for p in folder.iterdir()}, (
            verb
        )


def test_families_are_asked_for_by_name_only_where_they_are_declared():
    from chiasm.models.families import FAMILIES

    names = {family.name for family in FAMILIES}
    for path in SOURCES:
        inside = path.relative_to(ROOT / "src" / "chiasm").parts
        if inside[:2] == ("models", "families") or inside[0] == "tiny":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare | ast.Match):
                words = {n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
                assert not words & names, f"{path.name}:{node.lineno} asks for {words & names}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT / "src" / "chiasm")))
def test_attributes_are_guessed_at_only_in_models(path):
    """`hasattr`, and `getattr` with a default, are for transformers' configs alone."""
    if "models" in path.relative_to(ROOT / "src" / "chiasm").parts:
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "hasattr", f"{path.name}:{node.lineno}"
            assert not (node.func.id == "getattr" and len(node.args) == 3), f"{path.name}:{node.lineno}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT / "src" / "chiasm")))
def test_modules_and_public_names_say_what_they_are(path):
    tree = ast.parse(path.read_text())
    assert not tree.body or ast.get_docstring(tree), f"{path.name} has no docstring"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{path.name}:{node.lineno} `{node.name}` has no docstring"
