"""The application: which verbs there are, and what is said of an option that is none."""

import sys
from collections.abc import Sequence
from importlib import metadata
from typing import TYPE_CHECKING

from cyclopts import App, CycloptsPanel
from cyclopts.exceptions import CycloptsError, UnknownOptionError

from chiasm.cli.check import check
from chiasm.cli.completion import completion
from chiasm.cli.demo import demo
from chiasm.cli.diff import diff
from chiasm.cli.doctor import doctor
from chiasm.cli.models import models
from chiasm.cli.report import report
from chiasm.cli.verbs import command
from chiasm.core.errors import ChiasmError
from chiasm.core.options import declared
from chiasm.studies.study import is_study, study, verbs

if TYPE_CHECKING:
    from rich.panel import Panel

_HELP = """See what a multimodal LLM does with what it sees.

Begin with the embedded model, then take your own:

    chiasm demo
    chiasm flow llava-hf/llava-1.5-7b-hf --data my.jsonl --limit 100

`chiasm VERB --help` shows examples and the options most people need, `chiasm VERB --help-all` every option.
"""
_OTHER = {
    "demo": demo,
    "report": report,
    "diff": diff,
    "models": models,
    "check": check,
    "doctor": doctor,
    "completion": completion,
}


def application(arguments: Sequence[str] = (), *, every: bool = False) -> App:
    """The command line for `arguments`: where they begin with a verb only that one is made, otherwise all are."""
    app = App(
        name="chiasm",
        help=_HELP,
        help_format="markdown",
        help_flags=("--help", "-h", "--help-all"),
        version=lambda: metadata.version("chiasm"),
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    first = arguments[0] if arguments else ""
    for verb in [first] if first in _OTHER or is_study(first) else [*verbs(), *_OTHER]:
        try:
            app.command(_OTHER[verb] if verb in _OTHER else command(study(verb), every=every), name=verb)
        except ChiasmError as error:
            # A broken study of another package must not take the others along, unless it is the one that is asked for.
            if arguments[:1] == [verb]:
                raise
            print(f"chiasm: {error}", file=sys.stderr)
    return app


def explained(error: CycloptsError) -> "Panel":
    """The library's words; of an option that only other verbs have, which those are."""
    if isinstance(error, UnknownOptionError):
        option = error.token.keyword or error.token.value or ""
        others = [f"`chiasm {verb}`" for verb in verbs() if option in _flags(verb)]
        if others:
            have = " and ".join(others) + (" has it" if len(others) == 1 else " have it")
            todo = " ".join(("chiasm", *(error.command_chain or ()), "--help-all"))
            return CycloptsPanel(f"Unknown option: {option}. {have}; for what can be given here, see `{todo}`.")
    return CycloptsPanel(error)


def _flags(verb: str) -> set[str]:
    try:
        return {one.flag for one in declared(study(verb).spec)}
    except ChiasmError:  # a broken study of another package has nothing to do with the mistake
        return set()
