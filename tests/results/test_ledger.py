import re
from decimal import Decimal

import pytest

from chiasm.results.ledger import STATUSES, Ledger, ledger, read_ledger
from chiasm.studies.study import verbs

PAPER = """
[[papers]]
arxiv = "1"
title = "A paper"
authors = "They"
venue = "There"
"""
ENTRY = """
[[entries]]
id = "one"
paper = "1"
where = "Table 1"
claim = "It rises."
source = "paper"
model = "large"
data = "theirs"
studies = ["flow"]
status = "unverified"
values = [{ of = "accuracy", value = 0.5070 }, { of = "spread", value = "unknown", unit = "%" }]
"""
OURS = """
[entries.ours]
model = "large"
data = "theirs"
command = "chiasm flow large"
date = 2026-11-29
claims = [
  { kind = "effect", about = "image->last", where = "3", quantity = "change", unit = "nat", effect = -1.25, \
low = -1.5, high = -1, p = 0.0005, n = 40, inputs = 30, verdict = "established" },
]
"""
TINY = OURS.replace("entries.ours", "entries.tiny.measured").replace('"large"', '"tiny"')
TINY = '[entries.tiny]\nshows = "disagrees"\n' + TINY


def read(*parts: str) -> Ledger:
    return read_ledger(["\n".join((PAPER, *parts))])


def test_an_entry_is_read_and_worded():
    (entry,) = read(ENTRY).entries
    assert entry.values[0].value == Decimal("0.5070")
    assert entry.published == "accuracy 0.5070, spread unknown"
    assert entry.standing == "unverified"


def test_a_status_says_what_it_rests_on():
    (entry,) = read(ENTRY.replace("unverified", "reproduced"), OURS).entries
    assert entry.standing == (
        "reproduced: image->last at 3, change: -1.25 nat (95 % interval -1.5 to -1, p = 0.0005, n = 40 on 30 inputs), "
        "established"
    )


def test_what_the_embedded_model_shows_changes_no_status():
    (entry,) = read(ENTRY, TINY).entries
    assert entry.tiny is not None
    assert (entry.status, entry.standing, entry.tiny.shows) == ("unverified", "unverified", "disagrees")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (ENTRY.replace("unverified", "proven"), "one, status: 'proven' is not allowed"),
        (ENTRY.replace('source = "paper"\n', ""), "one: it lacks source"),
        (ENTRY + 'found = "here"\n', "one: found is unknown there"),
        (ENTRY.replace('"It rises."', '""'), "one, claim: '' is not allowed"),
        (ENTRY.replace('["flow"]', "[]"), "one: it names no study"),
        (ENTRY.replace("0.5070", '"about half"'), "one, values, value: 'about half' is not allowed"),
        (ENTRY.replace("0.5070", "true"), "one, values, value: True is not allowed"),
        (ENTRY + ENTRY, "the entry one stands in the ledger twice"),
        (PAPER, "the paper 1 stands in the ledger twice"),
        (ENTRY.replace('paper = "1"', 'paper = "2"'), "entries of 2, a paper that is not in the ledger"),
        (ENTRY.replace("unverified", "reproduced"), "one: reproduced, without a measurement"),
        (ENTRY.replace("unverified", "contradicted"), "one: contradicted, without a measurement"),
        (ENTRY + OURS, "one: unverified, with a measurement"),
        (ENTRY.replace("unverified", "reproduced") + OURS.replace('"large"', '"tiny"'), "one: a status needs large on"),
        (ENTRY + TINY.replace('"tiny"', '"large"'), "one: large is no embedded model"),
        (ENTRY + TINY.replace('command = "chiasm flow large"\n', ""), "one, tiny, measured: it lacks command"),
        (ENTRY + TINY.replace("date = 2026-11-29", 'date = "today"'), "one, tiny, measured, date: 'today' is not"),
        (ENTRY + TINY.replace("high = -1, ", ""), "a value without an interval"),
        (ENTRY + re.sub(r"claims = \[.*\]", "claims = []", TINY, flags=re.DOTALL), "a value without an interval"),
    ],
)
def test_what_is_not_sound_is_refused(text, why):
    with pytest.raises(ValueError, match=re.escape(why)):
        read(text)


def test_a_run_is_shown_what_it_touches():
    about = ENTRY.replace('"one"', '"two"') + 'about = ["image->last", "answers"]\n'
    found = read(ENTRY, about)
    assert [entry.id for entry in found.concerning("flow")] == ["one"]
    assert [entry.id for entry in found.concerning("flow", {"answers"})] == ["one", "two"]
    assert [entry.id for entry in found.concerning("flow", ["last->last"])] == ["one"]
    assert found.concerning("skip", {"answers"}) == []


def test_the_shipped_ledger_is_sound():
    shipped = ledger()
    assert {paper.arxiv for paper in shipped.papers} == {"2411.18620", "2405.16700", "2410.09454", "2402.16832"}
    assert {entry.paper for entry in shipped.entries} == {paper.arxiv for paper in shipped.papers}
    assert {study for entry in shipped.entries for study in entry.studies} <= set(verbs())
    assert tuple(shipped.counts()) == STATUSES
    assert sum(shipped.counts().values()) == len(shipped.entries)


def _values(name):
    (entry,) = (entry for entry in ledger().entries if entry.id == f"projection-{name}")
    return {value.of: value.value for value in entry.values}


@pytest.mark.parametrize("domain", ["plantdoc", "dtd", "dermnet", "crisismmd"])
@pytest.mark.parametrize("setting", ["ft-proj", "ft-e2e"])
def test_the_changes_of_table_2_follow_from_its_scores(domain, setting):
    """As published: cut off behind two digits."""
    before, after = _values(f"table-2-{domain}-original"), _values(f"table-2-{domain}-{setting}")
    probe = "macro-F1 of the probe"
    assert abs(100 * (after[probe] / before[probe] - 1) - after["change of the probe"]) < 0.01
    untuned, tuned = _values(f"table-1-{domain}-zero-shot"), _values(f"table-1-{domain}-{setting}")
    assert abs(100 * (tuned["macro-F1"] / untuned["macro-F1"] - 1) - after["change of the model"]) < 0.01


@pytest.mark.parametrize("setting", ["ft-proj", "ft-e2e"])
def test_the_averages_of_figure_1_follow_from_table_2(setting):
    rows = [_values(f"table-2-{domain}-{setting}") for domain in ("plantdoc", "dtd", "dermnet", "crisismmd")]
    shown = _values(f"average-{setting}")
    assert abs(sum(row["change of the model"] for row in rows) / 4 - shown["macro-F1 of the model"]) < 1
    assert abs(sum(row["change of the probe"] for row in rows) / 4 + shown["macro-F1 of the probe"]) < 1


def test_the_released_plots_read_two_windows():
    (entry,) = (entry for entry in ledger().entries if entry.id == "flow-window-plots")
    assert sorted(str(value.value) for value in entry.values) == ["7", "7", "7", "9", "9"]
    assert entry in ledger().concerning("flow")
