"""The entry point: verbs, exit codes, and which errors keep their traceback."""

import os
import signal
import sys
from collections.abc import Sequence
from importlib import metadata
from types import FrameType
from typing import TYPE_CHECKING

from cyclopts import App, CycloptsPanel
from cyclopts.exceptions import CycloptsError

from chiasm.cli.check import check
from chiasm.cli.completion import completion
from chiasm.cli.demo import demo
from chiasm.cli.diff import diff
from chiasm.cli.doctor import doctor
from chiasm.cli.former import in_todays_words
from chiasm.cli.mistakes import mistake_of
from chiasm.cli.models import models
from chiasm.cli.output import print_error
from chiasm.cli.plan import plan_application
from chiasm.cli.report import report
from chiasm.cli.verbs import command, logging_to_terminal
from chiasm.core.errors import ChiasmError
from chiasm.studies.study import is_study, study, verbs

if TYPE_CHECKING:
    from rich.console import Console
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
_HELP_FLAGS = ("--help", "-h", "--help-all")
_PLAN = "plan"


def application(arguments: Sequence[str] = (), *, every: bool = False) -> App:
    """The command line for `arguments`: where they begin with a verb only that one is made, otherwise all are."""
    app = App(
        name="chiasm",
        help=_HELP,
        help_format="markdown",
        help_flags=_HELP_FLAGS,
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with 0, 1 (something is broken), 2 (a mistake in what was asked) or 130.

    With `--json` a mistake is one object on standard output as well.
    """
    # transformers' advice is for people who write code with it; ours is in our own words.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    signal.signal(signal.SIGTERM, _as_interrupt)
    typed = list(sys.argv[1:] if arguments is None else arguments)
    try:
        sys.exit(_run(typed))
    except BrokenPipeError:
        # Whoever read the output has read enough, as `head` does; what is left must not fail again on the way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


def _run(typed: Sequence[str]) -> int:
    """The exit code."""
    try:
        words = in_todays_words(list(typed))
        with logging_to_terminal():
            app = application(words, every="--help-all" in words)
            code = app(
                words,
                exit_on_error=False,
                console=_console(words),
                error_formatter=lambda error: _panel(mistake_of(error, words)),
            )
        sys.stdout.flush()
        return code or 0
    except ChiasmError as error:
        print(f"chiasm: {error}", file=sys.stderr)
        return _failed(error, typed, 2)
    except CycloptsError as error:  # printed by the library
        return _failed(mistake_of(error, typed), typed, 2)
    except KeyboardInterrupt as stop:
        notes = vars(stop).get("__notes__") or ("Interrupted.",)
        print("\n".join(("", *notes)), file=sys.stderr)
        return _failed(ChiasmError(" ".join(("chiasm", *typed)), "it was interrupted", " ".join(notes)), typed, 130)


def _failed(error: ChiasmError, typed: Sequence[str], code: int) -> int:
    """The exit code; with `--json` the error is printed for programs first."""
    if "--json" in typed:
        print_error(error)
        sys.stdout.flush()
    return code


def _console(words: Sequence[str]) -> "Console | None":
    """What help is printed on; None where none was asked for, as it takes time to import."""
    if words and not {*_HELP_FLAGS, "--version"}.intersection(words):
        return None
    from chiasm.cli.console import Output

    return Output()


def _panel(mistake: ChiasmError) -> "Panel":
    """A mistake in what was typed, as the library frames it; what was typed stands right above."""
    return CycloptsPanel(f"{mistake.found}. {mistake.todo}")


def _as_interrupt(signum: int, frame: FrameType | None) -> None:
    """A batch system's kind request to stop is handled as the user's."""
    raise KeyboardInterrupt
