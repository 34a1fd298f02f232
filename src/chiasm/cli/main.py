"""The entry point: verbs, exit codes, and which errors keep their traceback."""

import os
import signal
import sys
from collections.abc import Sequence
from importlib import metadata
from types import FrameType
from typing import TYPE_CHECKING

from cyclopts import App, CycloptsPanel
from cyclopts.exceptions import CycloptsError, UnknownOptionError

from chiasm.cli.check import check
from chiasm.cli.completion import completion
from chiasm.cli.demo import demo
from chiasm.cli.diff import diff
from chiasm.cli.doctor import doctor
from chiasm.cli.former import in_todays_words
from chiasm.cli.models import models
from chiasm.cli.report import report
from chiasm.cli.verbs import command, logging_to_terminal
from chiasm.cli.verify import verify
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
    "verify": verify,
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with 0, 1 (something is broken), 2 (a mistake in what was asked) or 130."""
    # transformers' advice is for people who write code with it; ours is in our own words.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        words = in_todays_words(list(sys.argv[1:] if arguments is None else arguments))
        with logging_to_terminal():
            app = application(words, every="--help-all" in words)
            code = app(words, exit_on_error=False, error_formatter=_explained)
        sys.stdout.flush()
    except ChiasmError as error:
        print(f"chiasm: {error}", file=sys.stderr)
        sys.exit(2)
    except CycloptsError:  # printed by the library
        sys.exit(2)
    except BrokenPipeError:
        # Whoever read the output has read enough, as `head` does; what is left must not fail again on the way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except KeyboardInterrupt as stop:
        print("\n".join(("", *(vars(stop).get("__notes__") or ("Interrupted.",)))), file=sys.stderr)
        sys.exit(130)
    sys.exit(code or 0)


def _explained(error: CycloptsError) -> "Panel":
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


def _as_interrupt(signum: int, frame: FrameType | None) -> None:
    """A batch system's kind request to stop is handled as the user's."""
    raise KeyboardInterrupt
