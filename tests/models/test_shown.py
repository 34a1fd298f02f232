"""A loaded model says in a notebook what it is and what can be done with it."""

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


def test_python_and_notebooks_show_it(monkeypatch):
    view = view_of("llava")
    monkeypatch.setattr(ModelView, "__repr__", object.__repr__)
    monkeypatch.setattr(ModelView, "_repr_html_", None, raising=False)
    offer_views()
    first, *rest = repr(view).splitlines()
    assert first.startswith("ModelView(llava: LlavaForConditionalGeneration, ")
    said = "\n".join(rest)
    for words in ("takes: text, image", "parts of a prompt: prefix image between question", "layers: ", "device: cpu"):
        assert words in said
    assert "can be given to: flow, align, look" in said
    assert "<" not in said
    assert view._repr_html_() == in_html(view)
