"""What the pages name in the repository is there."""

import re
import subprocess
from pathlib import Path

import pytest

import chiasm

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def tracked() -> set[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return set(listed.split())


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_that_a_page_names_exist(page):
    files = tracked()
    named = set(re.findall(r"`([\w./-]+\.(?:py|toml|md))`", page.read_text()))
    lost = {name for name in named if not any(f"/{file}".endswith(f"/{name}") for file in files)}
    assert not lost


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_that_a_page_names_exist(page):
    files = tracked()
    for name in set(re.findall(r"`(chiasm(?:\.[a-z_]+)+)`", page.read_text())):
        path = f"src/{name.replace('.', '/')}"
        inside = path.rsplit("/", 1)[0]
        places = (f"{path}.py", f"{path}/__init__.py", f"{inside}.py", f"{inside}/__init__.py")
        # Of `chiasm.name` the functions of the package are meant as well.
        known = any(place in files for place in places) or (name.count(".") == 1 and hasattr(chiasm, name[7:]))
        assert known, f"{page.name} names {name}"
