"""The tutorials run as they stand: cell by cell in a kernel where time allows, and a look at all that takes none."""

import ast
import json
from pathlib import Path

import pytest

import chiasm

FOLDER = Path(__file__).parents[2] / "docs" / "tutorials"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def code(path: Path) -> list[str]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_there_is_one_for_each_question():
    assert [path.stem for path in NOTEBOOKS] == ["align_and_skip", "flow", "project"]
    page = (FOLDER.parent / "tutorials.md").read_text(encoding="utf-8")
    assert all(f"tutorials/{path.name}" in page for path in NOTEBOOKS)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_kept_without_outputs_and_names_what_there_is(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
    used = [node for text in code(path) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)]
    names = {node.attr for node in used if isinstance(node.value, ast.Name) and node.value.id == "chiasm"}
    assert names
    assert names <= set(dir(chiasm))


@pytest.mark.heavy
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
# What the kernel's own packages warn of is theirs.
@pytest.mark.filterwarnings("ignore")
def test_it_runs(path, tmp_path):
    import nbformat
    from nbclient import NotebookClient

    book = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(book, timeout=900, kernel_name="python3", resources=where).execute()
    shown = [output for cell in book.cells for output in cell.get("outputs", ())]
    runs = [one for one in shown if one.get("data", {}).get("text/plain", "").startswith("Run(")]
    assert runs
    views = [one for one in shown if one.get("data", {}).get("text/plain", "").startswith("ModelView(tiny: ")]
    assert views
    assert all("<table>" in one["data"]["text/html"] for one in [*views, *runs])
    # Progress stays on one line that is cleared; nothing is written to standard error.
    streams = [one for one in shown if one["output_type"] == "stream"]
    assert not [one["text"] for one in streams if one["name"] == "stderr"]


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore")
def test_a_kernel_shows_charts_as_charts(tmp_path):
    import nbformat
    from nbclient import NotebookClient

    source = (
        "import chiasm\n"
        "run = chiasm.flow('tiny', cuts=['image->last'], window=3, limit=8, controls=False)\n"
        "run.chart('flow')"
    )
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    NotebookClient(book, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    [data] = [one["data"] for one in book.cells[0].outputs if "data" in one]
    assert "layer" in data["application/vnd.vegalite.v6+json"]
    assert data["image/svg+xml"].startswith("<svg")
