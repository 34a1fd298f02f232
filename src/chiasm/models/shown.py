"""A loaded model as a notebook shows it: what was loaded, which parts have names, what can be done with it."""

import sys
from html import escape
from typing import Any

from chiasm.core.spans import TOP_LEVEL
from chiasm.models.description import describe
from chiasm.models.families.certificates import HOLDS
from chiasm.models.support import against
from chiasm.models.view import ModelView


def offer_views() -> None:
    """Let IPython, where it runs, show views so.

    It is told, and the class is not: certificates rest on every line of the class.
    """
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None:
        shown: Any = shell.display_formatter.formatters
        shown["text/html"].for_type(ModelView, in_html)
        shown["text/plain"].for_type(ModelView, lambda view, printer, cycle: printer.text(in_words(view)))


def in_words(view: ModelView) -> str:
    """What was loaded, in one line."""
    return f"ModelView({view.name}: {describe(view)})"


def in_html(view: ModelView) -> str:
    """The same as a small table, with what every command can do with it."""
    loaded = describe(view)
    takes = sorted(view.family.modalities)
    spans = [span for span in TOP_LEVEL if span not in ("image", "video", "audio") or span in takes]
    able = against(view.family)
    verbs = "tried when it was loaded: <code>chiasm.check(view)</code> says what holds"
    if able is not None:
        yes = [verb for verb, why in able.items() if why == HOLDS]
        no = [f"{verb} not: {why.partition(': ')[2]}" for verb, why in able.items() if why != HOLDS]
        verbs = "; ".join(escape(text) for text in (", ".join(yes), *no) if text)
    rows = {
        "model": escape(f"{view.name}, a {loaded.model} of the family {view.family.name}"),
        "loaded": escape(str(loaded)),
        "takes": escape(", ".join(["text", *takes])),
        "parts of a prompt": " ".join(f"<code>{span}</code>" for span in spans),
        "layers": f"{view.n_layers}, {view.width} wide",
        "computes": escape(f"on {view.device}, {view.precision}"),
        "can be given to": verbs,
    }
    body = "".join(
        f'<tr><th style="text-align:left">{name}</th><td style="text-align:left">{text}</td></tr>'
        for name, text in rows.items()
    )
    return f"<table>{body}</table>"
