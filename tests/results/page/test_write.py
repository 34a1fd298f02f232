"""The page of a run of a real study: escaped, cited, ordered; and of runs that have nothing to say."""

import re
from html import unescape

import pytest
from bench.page import made_up

from chiasm.results.charts.page import policy
from chiasm.results.page.reproduce import provenance
from chiasm.results.page.write import _minus, _unbroken, write_report
from chiasm.studies.flow import STUDY
from chiasm.studies.flow.spec import FlowSpec
from chiasm.studies.run import open_run


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "run"
    made_up(path, 24, 6, pictures=3)
    run = open_run(path)
    return write_report(run.directory, run.reporter, []).read_text("utf-8")


def test_the_headline_is_the_reporters_and_stands_first(page):
    headline = re.search(r'<p class="headline">(.*?)</p>', page).group(1)
    assert "reaches" in headline
    assert page.index(headline) < page.index('id="numbers"') < page.index('id="browse"') < page.index('id="limits"')


def test_the_way_from_the_headline_to_what_contradicts_it_is_one_click(page):
    assert page.index('<a href="#browse">Which examples contradict it?</a>') < page.index('id="numbers"')


def test_every_question_that_claims_answer_has_a_table(page):
    assert page.count('<table class="numbers">') >= 3
    assert "What does the answer gain or lose when a route is cut, and in which layers?" in page


def test_examples_cannot_end_their_element(page):
    data = re.search(r'<script type="application/json" id="examples">(.*?)</script>', page, re.DOTALL).group(1)
    assert data.endswith("}")
    assert "\\u003c/script> \\\"'&" in data
    assert data.count('"data:') == 0


def test_the_policy_names_the_scripts_of_the_page(page):
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(scripts) == 2, "no chart, so no library: the page's own and the browser's"
    assert unescape(re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page).group(1)) == policy(
        scripts
    )
    assert not any(
        re.search(r"\beval\(|new Function|innerHTML|https?:(?!//www\.w3\.org/2000/svg)", one) for one in scripts
    )


def test_it_says_what_to_cite(page):
    assert "@inproceedings{zhang2025cross," in page
    assert "@software{chiasm," in page


@pytest.mark.parametrize(
    ("failures", "said"),
    [
        ([], "Nothing has been computed yet."),
        ([("a", "no image"), ("b", "no image")], "Nothing can be said: of 2 examples 2 could not be used"),
    ],
)
def test_a_run_without_any_row_is_reported_all_the_same(tmp_path, failures, said):
    with STUDY.open(FlowSpec(model="made-up", data="scenes", cuts=("image->last",)), {}, tmp_path / "run") as run:
        if failures:
            run.write_shard(0, {}, failures=failures)
    opened = open_run(tmp_path / "run")
    text = opened.report().read_text("utf-8")
    assert said in text
    assert "This run is not finished" in text
    assert opened.reporter.summary()


@pytest.mark.parametrize(
    ("data", "name"), [({"hash": "h"}, "data hash"), ([{"hash": "h"}, {"hash": "i"}], "data 2 hash")]
)
def test_a_run_on_several_data_sets_names_each_of_them(tmp_path, data, name):
    with STUDY.open(FlowSpec(model="made-up", data="scenes"), {"data": data}, tmp_path / "run") as run:
        assert name in dict(provenance(run))


def test_the_words_that_the_page_uses_are_explained(page):
    listed = page.partition("Words of this page")[2].partition("</details>")[0]
    assert "<dt><code>last</code></dt>" in listed
    assert "<dt><code>nat</code></dt>" in listed
    assert "ft-proj" not in listed


def test_numbers_below_nought_have_the_sign_of_charts_and_names_keep_theirs():
    assert _minus("-1.2 (-10.4 to +7.3), search-96 in layers 0-4, 2-1, 1e-05") == (
        "\u22121.2 (\u221210.4 to +7.3), search-96 in layers 0-4, 2-1, 1e-05"
    )
    assert str(_unbroken("`--cut -1` is -1")) == "<code>--cut -1</code> is \u22121"
