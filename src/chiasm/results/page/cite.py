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
    """A method of others that a run uses."""

    arxiv: str
    title: str
    authors: str
    year: str

    @property
    def who(self) -> str:
        """Who made it, and when, in a line."""
        names = self.authors.split(", ")
        first, last = (name.rpartition(" ")[2] for name in (names[0], names[-1]))
        return f"{first} and {last if len(names) == 2 else 'others'}, {self.year}"


METHODS: Final = {
    "attention knockout": Method(
        "2304.14767",
        "Dissecting Recall of Factual Associations in Auto-Regressive Language Models",
        "Mor Geva, Jasmijn Bastings, Katja Filippova, Amir Globerson",
        "2023",
    ),
    "activation patching": Method(
        "2202.05262",
        "Locating and Editing Factual Associations in GPT",
        "Kevin Meng, David Bau, Alex Andonian, Yonatan Belinkov",
        "2022",
    ),
    "attribution patching": Method(
        "2310.10348",
        "Attribution Patching Outperforms Automated Circuit Discovery",
        "Aaquib Syed, Can Rager, Arthur Conmy",
        "2023",
    ),
    "Wanda": Method(
        "2306.11695",
        "A Simple and Effective Pruning Approach for Large Language Models",
        "Mingjie Sun, Zhuang Liu, Anna Bair, J. Zico Kolter",
        "2024",
    ),
    "FastV": Method(
        "2403.06764",
        "An Image is Worth 1/2 Tokens After Layer 2: Plug-and-Play Inference Acceleration for Large Vision-Language "
        "Models",
        "Liang Chen, Haozhe Zhao, Tianyu Liu, Shuai Bai, Junyang Lin, Chang Zhou, Baobao Chang",
        "2024",
    ),
    "ShortV": Method(
        "2504.00502",
        "ShortV: Efficient Multimodal Large Language Models by Freezing Visual Tokens in Ineffective Layers",
        "Qianhao Yuan, Qingyu Zhang, Yanjiang Liu, Jiawei Chen, Yaojie Lu, Hongyu Lin, Jia Zheng, Xianpei Han, Le Sun",
        "2025",
    ),
    "V-Skip": Method(
        "2606.08511",
        "Look Less, Reason More: Block-wise Attention Skipping for Efficient Multimodal LLMs",
        "Jie Ma, Zhike Qiu, Jiayi Ji, others",
        "2026",
    ),
    "mutual nearest neighbours": Method(
        "2405.07987",
        "The Platonic Representation Hypothesis",
        "Minyoung Huh, Brian Cheung, Tongzhou Wang, Phillip Isola",
        "2024",
    ),
    "modality gap": Method(
        "2203.02053",
        "Mind the Gap: Understanding the Modality Gap in Multi-modal Contrastive Representation Learning",
        "Weixin Liang, Yuhui Zhang, Yongchan Kwon, Serena Yeung, James Zou",
        "2022",
    ),
}
"""By the names that pages call them by."""


def named(papers: Sequence[Paper], methods: Mapping[str, Sequence[str]]) -> list[str]:
    """What to cite, each in a line: the papers, then the methods with what of the page is made by them."""
    lines = [f"{_surnames(one.authors)}: {one.title}. {one.venue}. arXiv {one.arxiv}." for one in papers]
    for name in (name for name in METHODS if name in methods):
        of, used = METHODS[name], ", ".join(f"`{one}`" for one in methods[name])
        lines.append(f"{name} ({used}): {of.who}. arXiv {of.arxiv}.")
    return [*lines, f"chiasm {metadata('chiasm')['Version']}, the software that made this page."]


def _surnames(authors: str) -> str:
    return ", ".join(name.rpartition(" ")[2] for name in authors.split(", "))


def bibtex(papers: Sequence[Paper], methods: Collection[str] = ()) -> str:
    """Entries for `papers`, for `methods` by their names, and for chiasm; what is not known stays out."""
    used = [_method(name, METHODS[name]) for name in METHODS if name in methods]
    return "\n\n".join([*(_paper(one) for one in papers), *used, _software()])


def _method(name: str, of: Method) -> str:
    first = of.authors.split(", ")[0].rpartition(" ")[2].lower()
    fields = {
        "title": f"{{{of.title}}}",
        "author": of.authors.replace(", ", " and "),
        "year": of.year,
        "note": name,
        "eprint": of.arxiv,
        "archiveprefix": "arXiv",
    }
    return _entry("misc", f"{first}{of.year}{re.sub(r'[^a-z]', '', name.lower())}", fields)


def _paper(paper: Paper) -> str:
    year = re.search(r"\b(19|20)\d\d\b", paper.venue)
    first = paper.authors.split(", ")[0].rpartition(" ")[2].lower()
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
