import polars as pl
import pytest

from chiasm.results import examples
from chiasm.results.examples import first_shown


def test_a_page_holds_the_first_examples_with_all_their_rows(monkeypatch: pytest.MonkeyPatch):
    rows = pl.DataFrame({"example_id": [*"cabcab", "d"], "layer": [0, 0, 0, 1, 1, 1, 0]})
    assert first_shown(rows)[0].equals(rows)
    assert first_shown(rows)[1] == 4
    monkeypatch.setattr(examples, "MAX_SHOWN", 2)
    shown, total = first_shown(rows)
    assert total == 4
    assert shown["example_id"].to_list() == ["c", "a", "c", "a"]


def test_examples_of_several_domains_are_told_apart(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(examples, "MAX_SHOWN", 1)
    rows = pl.DataFrame({"domain": ["x", "y"], "example_id": ["a", "a"]})
    shown, total = first_shown(rows, "domain", "example_id")
    assert total == 2
    assert shown["domain"].to_list() == ["x"]
