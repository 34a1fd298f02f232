import dataclasses
import itertools
import re
from collections.abc import Sequence
from html import unescape
from html.parser import HTMLParser

import pytest
from tests.support import flow_tables as made
from tests.support.rundirs import ANSWERS as EVAL

from chiasm.core.errors import ChiasmError
from chiasm.core.options import Options, option
from chiasm.results.charts import files
from chiasm.results.charts import page as page_scripts
from chiasm.results.charts.theme import SCREEN
from chiasm.results.findings import Finding
from chiasm.results.page.write import write_report
from chiasm.results.report import Reporter
from chiasm.results.rundir import RunDirectory
from chiasm.studies.flow import captions, charts
from chiasm.studies.flow.curves import flow_chart
from chiasm.studies.flow.tables import ANSWERS, CONTROLS, EFFECTS

VOID = {"meta", "link", "br", "img", "hr", "input"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spec(Options):
    model: str = option(help="A model.", positional=True)
    cuts: Sequence[str] = option(("image->last",), "Cuts.")
    window: int = option(3, "Layers per window.")
    data: str | None = option(None, "Data.")
    out: str | None = option(None, "Directory.", identity=False)


TABLES = (EFFECTS, CONTROLS, ANSWERS, EVAL)
ASKED = Spec(model="tiny", cuts=["image->last", "last->last"], out="runs/x").complete(data="scenes")


class Fixed(Reporter[Spec]):
    """Says always the same."""

    title = "Flow in <tiny>"
    remarks = ("the `suffix` is an open route",)

    def findings(self):
        return [Finding(f"finding {i} <at> layers 3-4", float(i)) for i in range(5)]

    def drawings(self):
        return {}

    def notes(self):
        return list(self.remarks)


def open_flow(path, **more):
    return RunDirectory.open(path, "flow", ASKED, TABLES, **more)


class Page(HTMLParser):
    """Checks nesting while parsing; keeps tags, ids and the text of the page."""

    def __init__(self, source):
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join("".join(self.words).split())

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    facts = {"model": {"id": "tiny", "weights": "0a1b"}, "seed": 3, "dtype": "float32", "device": "cpu", "asked": 7}
    effects, answers = made.effects(examples=6), made.answers(examples=6)
    with open_flow(tmp_path_factory.mktemp("report") / "run", facts=facts) as run:
        run.write_shard(
            0,
            {"effects": effects, "controls": made.controls(examples=6), "answers": answers},
            failures=[("a&b", "`<x>.png` is no image")],
            left_out=[("c", "answered wrongly"), ("d", "answered wrongly")],
        )
    files.save(flow_chart(effects, None, SCREEN), run.figures, "flow curves")
    files.save(charts.answer_tracking(answers, None, SCREEN), run.figures, "answers")
    return run


FIGURES = (
    ("flow curves", captions.flow(made.effects(examples=6), None)),
    ("answers", captions.tracking(made.answers(examples=6))),
)


def written(run, figures=FIGURES, remarks=Fixed.remarks):
    reporter = Fixed(run, ASKED)
    reporter.remarks = remarks
    path = write_report(run, reporter, figures)
    assert path == run.path / "report.html"
    return path.read_text(encoding="utf-8")


def scripts_of(source):
    """The scripts of the page that run, in order, and the page without them."""
    found = re.findall(r"<script>(.*?)</script>", source, re.DOTALL)
    for script in found:
        source = source.replace(script, "")
    return found, source


def test_one_sound_page(run):
    _, source = scripts_of(written(run))
    page = Page(source)
    assert source.startswith("<!DOCTYPE html>")
    assert page.all("html") == [{"lang": "en"}]
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids)) > 10
    used = re.findall(r'href="#([^"]+)"', source) + re.findall(r"url\(#([^)]+)\)", source)
    assert used
    assert set(used) <= set(ids)
    headings = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(headings))
    drawings = page.all("svg")
    assert len(drawings) == 2
    assert all(d["role"] == "img" and d["aria-label"] for d in drawings)


def test_nothing_is_fetched_and_only_its_own_scripts_run(run):
    source = written(run)
    scripts, rest = scripts_of(source)
    assert scripts[:2] == [page_scripts.libraries(), page_scripts.starter()]
    assert not re.search(r"https?:|//[a-z]|@import|<link|src=", rest)
    # Nothing but the scripts and the charts' data is a script, and the policy lets nothing else run.
    assert re.findall(r"<script[^>]*>", rest) == [
        '<script type="application/json" id="spec-flow curves">',
        '<script type="application/json" id="spec-answers">',
        *len(scripts) * ["<script>"],
    ]
    policy = unescape(re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', source).group(1))
    assert policy == page_scripts.policy(scripts)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert len(re.findall(r"<style", source)) == 1


def test_it_opens_with_the_headline_and_the_main_chart(run):
    source = written(run)
    places = [source.index(part) for part in ("finding 4", "<figure", "<h2>The findings in full", "open route")]
    assert places == sorted(places)
    assert source.index("open route") < source.index("<h2>How it was made")
    first = re.search(r'<ol class="findings">(.*?)</ol>', source, re.DOTALL).group(1)
    assert [int(i) for i in re.findall(r"finding (\d)", first)] == [4, 3, 2, 1, 0]
    assert "finding 0 <at> layers 3-4" in Page(source).text


def test_every_link_of_the_contents_leads_somewhere(run):
    page = Page(scripts_of(written(run))[1])
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    links = [attrs["href"] for attrs in page.all("a")]
    assert len(links) > 5
    assert all(link.startswith("#") and link[1:] in ids for link in links)


def test_what_was_given_in_memory_is_said_and_the_python_call_shown(run, monkeypatch):
    given = {"model": "tiny", "data": "in memory", "cuts": ["image->last"], "resume": True}
    monkeypatch.setitem(run.manifest, "given", given)
    text = " ".join(Page(written(run)).text.split()).replace(" .", ".")
    assert "The examples were given in memory, which no command can name: repeat the run in Python" in text
    assert "with the same as data." in text
    assert "chiasm.flow(model='tiny', cuts=['image->last'], data=data)" in text
    assert "--data DATA" not in text
    monkeypatch.setitem(run.manifest, "given", {"model": "in memory", "data": "scenes"})
    text = " ".join(Page(written(run)).text.split())
    assert "Models or examples were given in memory" in text
    assert "chiasm.flow(model=model, data='scenes')" in text


def test_it_says_what_was_used_and_by_what(run):
    page = Page(written(run))
    for part in (
        "6 of 7 examples",
        "Of 7 examples asked for, 6 were used, 2 left out on purpose and 1 could not be used.",
        "2 × answered wrongly",
        "`<x>.png` is no image",
        "chiasm flow tiny --cut 'image->last' --cut 'last->last' --out runs/x",
        "Filled in, since it was not given: --data scenes.",
        run.manifest["spec_hash"],
        run.manifest["versions"]["torch"],
        "0a1b",
        "figures/answers.{svg,pdf,png}",
        "tables/effects.parquet , 144 rows",
        "What is left of the target token's probability when attention is cut",
        "This run is not finished",
    ):
        assert part in page.text.replace("parquet, ", "parquet , "), part


@pytest.mark.parametrize(
    ("precision", "said"),
    [
        ("computed in bfloat16", True),
        ("computed in float16", True),
        ("computed in float32", False),
        ("weights in bfloat16, computed in float32", False),
    ],
)
def test_rounding_in_every_number_is_said(run, monkeypatch, precision, said):
    monkeypatch.setitem(run.manifest, "precision", precision)
    text = Page(written(run)).text
    assert precision in text
    assert ("rounding to half precision is in every number above" in text) == said


def test_what_was_published_stands_beside_the_run_and_not_on_the_command_line(run):
    reporter = Fixed(run, ASKED)
    found = {entry.id for entry in reporter.published}
    assert {"flow-window-plots", "flow-lower-case-first"} <= found, "for all runs; for those with the table `answers`"
    assert "flow-image-indirect" not in found, "of a cut that this reporter does not name"
    page = Page(written(run))
    unverified = sum(entry.status == "unverified" for entry in reporter.published)
    assert f"{len(found)} published claims and numbers: {unverified} unverified" in page.text
    assert "plots of LLaVA-1.5-13B 9 layers, plots of LLaVA-1.5-7B 7 layers" in page.text
    assert not any("published" in str(line) for line in reporter.summary())


def test_a_study_without_published_claims_has_no_such_section(run, monkeypatch):
    monkeypatch.setitem(run.manifest, "study", "counting")
    assert "What was published" not in written(run)


def test_a_finished_run_is_not_called_unfinished(tmp_path):
    with open_flow(tmp_path) as run:
        run.write_shard(0, {"eval": made.evaluation(examples=6)})
        run.finish()
    source = written(run, figures=[], remarks=())
    assert "not finished" not in source
    assert "<figure" not in source
    assert "What this run cannot tell" not in source
    Page(source)


def test_long_lists_of_failures_are_cut_and_counted(tmp_path):
    with open_flow(tmp_path) as run:
        run.write_shard(0, {"eval": made.evaluation(6)}, failures=[(f"bad{i}", "no image") for i in range(80)])
        run.finish()
    page = Page(written(run, figures=[]))
    assert "bad49" in page.text
    assert "bad50" not in page.text
    assert "and 30 more, in tables/failures.parquet" in page.text


def test_a_figure_that_was_not_saved_is_named(run):
    with pytest.raises(ChiasmError, match="`nothing`: it has not been saved"):
        written(run, figures=[("nothing", "x")])
