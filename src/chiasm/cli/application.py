"""The application: which verbs there are."""

import sys
from collections.abc import Sequence
from importlib import metadata

from cyclopts import App

from chiasm.cli.chart import chart
from chiasm.cli.check import check
from chiasm.cli.completion import completion
from chiasm.cli.demo import demo
from chiasm.cli.diff import diff
from chiasm.cli.doctor import doctor
from chiasm.cli.models import models
from chiasm.cli.plan import plan_application
from chiasm.cli.report import report
from chiasm.cli.verbs import command
from chiasm.cli.verify import verify
from chiasm.core.errors import ChiasmError
from chiasm.studies.study import is_study, study, verbs

_HELP = """See what a multimodal LLM does with what it sees.

Begin with the embedded model, then take your own:

    chiasm demo
    chiasm flow llava-hf/llava-1.5-7b-hf --data my.jsonl --limit 100

`chiasm VERB --help` shows examples and the options most people need, `chiasm VERB --help-all` every option.
"""
_OTHER = {
    "demo": demo,
    "report": report,
    "chart": chart,
    "diff": diff,
    "verify": verify,
    "models": models,
    "check": check,
    "doctor": doctor,
    "completion": completion,
}
HELP_FLAGS = ("--help", "-h", "--help-all")
_PLAN = "plan"


def application(arguments: Sequence[str] = (), *, every: bool = False) -> App:
    """The command line for `arguments`: where they begin with a verb only that one is made, otherwise all are."""
    app = App(
        name="chiasm",
        help=_HELP,
        help_format="markdown",
        help_flags=HELP_FLAGS,
        version=lambda: metadata.version("chiasm"),
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    first = arguments[0] if arguments else ""
    if first == _PLAN:
        app.command(plan_application(arguments[1:], every=every))
        return app
    for verb in [first] if first in _OTHER or is_study(first) else [*verbs(), *_OTHER]:
        try:
            app.command(_OTHER[verb] if verb in _OTHER else command(study(verb), every=every), name=verb)
        except ChiasmError as error:
            # A broken study of another package must not take the others along, unless it is the one that is asked for.
            if arguments[:1] == [verb]:
                raise
            print(f"chiasm: {error}", file=sys.stderr)
    if not (first in _OTHER or is_study(first)):
        app.command(plan_application((), every=every))
    return app
