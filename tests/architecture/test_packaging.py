"""What the package promises to those who install or cite it is kept."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from chiasm.results.ledger import ledger

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())
SOURCES = [path.read_text() for path in sorted((ROOT / "src" / "chiasm").rglob("*.py"))]
# transformers imports it, for the processors that need it; chiasm names it in its errors and in `doctor`.
BY_TRANSFORMERS = {"torchvision", "gguf"}


def imported(package: str) -> bool:
    return any(re.search(rf"^\s*(?:import|from) {package}\b", source, re.MULTILINE) for source in SOURCES)


@pytest.mark.parametrize("extra", PROJECT["optional-dependencies"])
def test_what_an_extra_installs_is_used(extra):
    packages = {re.match(r"[\w-]+", one)[0] for one in PROJECT["optional-dependencies"][extra]}
    assert not {one for one in packages - BY_TRANSFORMERS if not imported(one)}


def test_extras_that_errors_name_exist():
    named = {extra for source in SOURCES for extra in re.findall(r"MissingExtraError\([^)]*\"(\w+)\"\)", source)}
    assert named
    assert named <= set(PROJECT["optional-dependencies"])


def test_the_citation_is_of_this_version_and_of_the_papers_of_the_ledger():
    assert CITATION["version"] == PROJECT["version"]
    assert CITATION["license"] == PROJECT["license"]
    cited = {one["url"].rpartition("/")[2]: one for one in CITATION["references"]}
    papers = {paper.arxiv: paper for paper in ledger().papers}
    assert set(cited) == set(papers)
    for arxiv, paper in papers.items():
        assert cited[arxiv]["title"] == paper.title
        written = [f"{one['given-names']} {one['family-names']}" for one in cited[arxiv]["authors"]]
        assert written == paper.authors.split(", ")


@pytest.mark.parametrize("form", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda p: p.name)
def test_workflows_and_forms_are_read(form):
    found = yaml.safe_load(form.read_text())
    steps = [step for job in found.get("jobs", {}).values() for step in job["steps"]]
    targets = {re.match(r"make ([\w-]+)", step["run"])[1] for step in steps if step.get("run", "").startswith("make ")}
    makefile = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
    assert found
