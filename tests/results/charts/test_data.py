import math

from chiasm.results.charts.data import lean, plain, rows


def test_text_stays_as_it_is_but_for_what_cannot_be_drawn():
    assert plain("a <b> & c") == "a <b> & c"
    assert plain("a\nb\tc\x00") == "a b c"
    assert plain("\u202eevil\u2066") == "evil"
    assert plain("👩\u200d🔬 é") == "👩\u200d🔬 é"


def test_numbers_keep_what_is_known_and_what_is_none_is_null():
    made = rows([{"a": 1 / 3, "b": 7, "c": math.nan, "d": math.inf, "e": True}, {"a": 2.0, "f": "x"}])
    assert made.row(0, named=True) == {"a": 0.3333333, "b": 7, "c": None, "d": None, "e": True, "f": None}
    assert lean(made).columns == ["a", "b", "e", "f"]
