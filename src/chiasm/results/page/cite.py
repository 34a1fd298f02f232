"""What to cite for a run: the papers whose method it is, and chiasm with its version, as BibTeX."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import metadata
from typing import Final

from chiasm.results.ledger import Ledger, Paper


def papers_of(study: str, of: Ledger) -> list[Paper]:
    """The papers that say something about what a study does."""
    named = {entry.paper for entry in of.entries if study in entry.studies}
    return [paper for paper in of.papers if paper.arxiv in named]


@dataclass(frozen=True, slots=True)
class Method:
    """A method of others that a run uses, as far as it is known here: `author` is the first one, empty for unknown."""

    arxiv: str
    author: str = ""
    year: str = ""


METHODS: Final = {
    "Wanda": Method("2306.11695", "Sun", "2024"),
    "FastV": Method("2403.06764", "Chen", "2024"),
    "ShortV": Method("2504.00502", "Yuan", "2025"),
    "V-Skip": Method("2606.08511"),
    "mutual nearest neighbours": Method("2405.07987", "Huh", "2024"),
    "modality gap": Method("2203.02053", "Liang", "2022"),
    "attention knockout": Method("2304.14767", "Geva", "2023"),
    "activation patching": Method("2202.05262", "Meng", "2022"),
    "attribution patching": Method("2310.10348", "Syed", "2023"),
}
"""By the names that pages call them by."""


def named(papers: Sequence[Paper], methods: Mapping[str, Sequence[str]]) -> list[str]:
    """What to cite, each in a line: the papers, then the methods with what of the page is made by them."""
    lines = [f"{one.authors}: {one.title}. {one.venue}. arXiv {one.arxiv}." for one in papers]
    for name in (name for name in METHODS if name in methods):
        of, used = METHODS[name], ", ".join(f"`{one}`" for one in methods[name])
        who = f"{of.author} and others, {of.year}" if of.author else "author and year unknown here"
        lines.append(f"{name} ({used}): {who}. arXiv {of.arxiv}.")
    return [*lines, f"chiasm {metadata('chiasm')['Version']}, the software that made this page."]


def bibtex(papers: Sequence[Paper], methods: Collection[str] = ()) -> str:
    """Entries for `papers`, for `methods` by their names, and for chiasm; what is not known stays out."""
    used = [_method(name, METHODS[name]) for name in METHODS if name in methods]
    return "\n\n".join([*(_paper(one) for one in papers), *used, _software()])


def _method(name: str, of: Method) -> str:
    fields = {
        "author": f"{of.author} and others" if of.author else "",
        "year": of.year,
        "note": name,
        "eprint": of.arxiv,
        "archiveprefix": "arXiv",
    }
    return _entry("misc", f"{of.author.lower()}{of.year}{re.sub(r'[^a-z]', '', name.lower())}", fields)


def _paper(paper: Paper) -> str:
    year = re.search(r"\b(19|20)\d\d\b", paper.venue)
    first = re.split(r"\W+", paper.authors)[0].lower()
    word = next((word for word in re.findall(r"\w+", paper.title.lower()) if len(word) > 3), "")
    fields = {
        "title": f"{{{paper.title}}}",
        "author": " and ".join(name.strip() for name in paper.authors.split(",")),
        "booktitle": paper.venue.partition(",")[0],
        "year": year.group() if year else "",
        "eprint": paper.arxiv,
        "archiveprefix": "arXiv",
    }
    return _entry("inproceedings", f"{first}{year.group() if year else ''}{word}", fields)


def _software() -> str:
    about = metadata("chiasm")
    author = about["Author"] or about["Author-email"]
    fields = {
        "title": f"{{chiasm: {about['Summary'].partition(':')[0]}}}",
        "author": f"{{{author}}}" if author else "",
        "version": about["Version"],
        "note": about["License-Expression"] or "",
    }
    return _entry("software", "chiasm", fields)


def _entry(kind: str, key: str, fields: dict[str, str]) -> str:
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@{kind}{{{key},", *lines, "}"])
