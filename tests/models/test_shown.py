"""A loaded model says in a notebook what it is and what can be done with it."""

from tests.support.runs import view_of

from chiasm.models.support import against


def test_a_view_names_what_was_loaded_and_what_it_can_be_given_to():
    view = view_of("llava")
    shown = view._repr_mimebundle_()
    assert shown["text/plain"].startswith("ModelView(llava: LlavaForConditionalGeneration, ")
    for word in ("of the family llava", "text, image", "<code>question</code>", "flow, align, look"):
        assert word in shown["text/html"]
    assert "<code>audio</code>" not in shown["text/html"]


def test_what_a_family_cannot_do_is_said_with_the_reason(monkeypatch):
    found = {"flow": "yes", "skip (attention)": "no: its <layers> mix tokens"}
    monkeypatch.setattr("chiasm.models.shown.against", lambda family: found)
    page = view_of("llava")._repr_mimebundle_()["text/html"]
    assert "flow; skip (attention) not: its &lt;layers&gt; mix tokens" in page


def test_a_model_of_an_unlisted_architecture_says_what_to_try():
    view = view_of("llava")
    assert against(type("Unlisted", (type(view.family),), {"name": "unlisted"})()) is None
