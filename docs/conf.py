"""The site: `make site` builds it with Sphinx, MyST and Furo into build/site, without a network.

Pages are the Markdown files of docs/; those at the top of the repository (README, changelog, ...) are included by a
page of the same name. Links are written for the repository, where they can be followed too: one to such a file is
turned to its page, one to any other file outside of docs/ to a copy of it in the site. Nothing of chiasm is imported:
what is made from the code is in the pages that `make docs` writes.
"""

import posixpath
import re
import tomllib
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

project = _PROJECT["name"]
author = _PROJECT["authors"][0]["name"]
copyright = f"{author}; {_PROJECT['license']}"  # noqa: A001 (Sphinx's name)
version = release = _PROJECT["version"]

extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence"]
# So that a link to a heading is checked.
myst_heading_anchors = 4
# Findings are quoted as they are printed.
smartquotes = False

html_theme = "furo"
html_title = "chiasm"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
# Summaries of what was found are fetched, which a browser refuses for files on a disk.
html_show_search_summary = False
html_show_sphinx = False

PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
FOLDERS = {"docs": "index.md", "docs/reference": "reference/commands.md"}
# Of Markdown: [text](address#anchor), images too; addresses with a scheme and anchors of the same page stay.
_LINK = re.compile(r"(\]\()(?![a-z]+:|#|<)([^)\s#]+)(#[^)\s]*)?(\))")


def turned(markdown: str, home: str, page: str) -> str:
    """`markdown` of a file in the folder `home` of the repository with its links as seen from `page` of the site."""

    def turn(found: re.Match[str]) -> str:
        opened, address, anchor, closed = found.groups()
        name = posixpath.normpath(posixpath.join(home, address)).rstrip("/")
        target = PAGES.get(name) or FOLDERS.get(name)
        if target is None and name.startswith("docs/"):
            target = name.removeprefix("docs/")
        if target is None:
            # A file of the repository: Sphinx takes it along as a download.
            depth = page.count("/") + 1
            return f"{opened}path:{'../' * depth}{name}{closed}" if (ROOT / name).is_file() else found[0]
        return f"{opened}{posixpath.relpath(target, posixpath.dirname(page) or '.')}{anchor or ''}{closed}"

    return _LINK.sub(turn, markdown)


def _of_page(app: Sphinx, name: str, source: list[str]) -> None:
    page = f"{name}.md"
    source[0] = turned(source[0], posixpath.dirname(f"docs/{page}"), page)


def _of_included(app: Sphinx, path: Path, parent: str, source: list[str]) -> None:
    source[0] = turned(source[0], "", f"{parent}.md")


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _of_page)
    app.connect("include-read", _of_included)
