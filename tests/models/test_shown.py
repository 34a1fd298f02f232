"""A loaded model says in a notebook what it is and what can be done with it."""

import sys
from types import SimpleNamespace

from tests.support.runs import view_of

from chiasm.models.shown import in_html, in_words, offer_views
from chiasm.models.support import against
from chiasm.models.view import ModelView


def test_a_view_names_what_was_loaded_and_what_it_can_be_given_to():
    view = view_of("llava")
    assert in_words(view).startswith("ModelView(llava: LlavaForConditionalGeneration, ")
    page = in_html(view)
    for word in ("of the family llava", "text, image", "<code>question</code>", "flow, align, look"):
        assert word in page
    assert "<code>audio</code>" not in page


def test_what_a_family_cannot_do_is_said_with_the_reason(monkeypatch):
    found = {"flow": "yes", "skip (attention)": "no: its <layers> mix tokens"}
    monkeypatch.setattr("chiasm.models.shown.against", lambda family: found)
    assert "flow; skip (attention) not: its &lt;layers&gt; mix tokens" in in_html(view_of("llava"))


def test_an_architecture_without_a_certificate_says_what_to_try(monkeypatch):
    monkeypatch.setattr("chiasm.models.support.certificates", dict)
    view = view_of("llava")
    assert against(view.family) is None
    assert "chiasm.check(view)" in in_html(view)


def test_ipython_is_told_where_it_runs(monkeypatch):
    told = {}
    kinds = ("text/html", "text/plain")
    formatters = {
        kind: SimpleNamespace(for_type=lambda of, how, kind=kind: told.update({kind: (of, how)})) for kind in kinds
    }
    shell = SimpleNamespace(display_formatter=SimpleNamespace(formatters=formatters))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    offer_views()
    assert {kind: of for kind, (of, _) in told.items()} == dict.fromkeys(kinds, ModelView)
    written = []
    told["text/plain"][1](view_of("llava"), SimpleNamespace(text=written.append), False)
    assert written == [in_words(view_of("llava"))]
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    told.clear()
    offer_views()
    assert told == {}
