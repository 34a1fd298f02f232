"""A loaded model as Python and notebooks show it: what was loaded, what it takes, what can be done with it."""

import re
from html import escape, unescape

from chiasm.core.spans import TOP_LEVEL
from chiasm.models.description import describe
from chiasm.models.families.certificates import HOLDS
from chiasm.models.support import against
from chiasm.models.view import ModelView

_TAGS = re.compile(r"<[^>]+>")


def offer_views() -> None:
    """Let views be shown so, in Python and in any notebook.

    This is added to their class here, and does not stand in its file: certificates rest on every line of that.
    """
    setattr(ModelView, "__repr__", in_words)  # noqa: B010 (a type checker takes no assignment to a class)
    setattr(ModelView, "_repr_html_", in_html)  # noqa: B010


def in_words(view: ModelView) -> str:
    """What was loaded in one line, and below it what it takes and can be given to."""
    rows = _rows(view)
    lines = [f"  {name}: {unescape(_TAGS.sub('', text))}" for name, text in rows.items() if name not in _IN_THE_FIRST]
    return "\n".join([f"ModelView({view.name}: {describe(view)})", *lines])


def in_html(view: ModelView) -> str:
    """The same as a small table."""
    body = "".join(
        f'<tr><th style="text-align:left">{name}</th><td style="text-align:left">{text}</td></tr>'
        for name, text in _rows(view).items()
    )
    return f"<table>{body}</table>"


_IN_THE_FIRST = ("model", "loaded")


def _rows(view: ModelView) -> dict[str, str]:
    """The description of a view, as HTML, by what each part is about."""
    loaded = describe(view)
    takes = sorted(view.family.modalities)
    spans = [span for span in TOP_LEVEL if span not in ("image", "video", "audio") or span in takes]
    able = against(view.family)
    verbs = "tried when it was loaded: <code>chiasm.check(view)</code> says what holds"
    if able is not None:
        shown = {verb: why.partition(": ") for verb, why in able.items()}
        yes = [f"{verb} ({how})" if how else verb for verb, (mark, _, how) in shown.items() if mark == HOLDS]
        no = [f"{verb} not: {why}" for verb, (mark, _, why) in shown.items() if mark != HOLDS]
        verbs = "; ".join(escape(text) for text in (", ".join(yes), *no) if text)
    return {
        "model": escape(f"{view.name}, a {loaded.model} of the family {view.family.name}"),
        "loaded": escape(str(loaded)),
        "takes": escape(", ".join(["text", *takes])),
        "parts of a prompt": " ".join(f"<code>{span}</code>" for span in spans),
        "layers": f"{view.n_layers}, {view.width} wide",
        "device": escape(str(view.device)),
        "precision": escape(str(view.precision)),
        "can be given to": verbs,
    }
