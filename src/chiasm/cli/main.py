"""The entry point: exit codes, and which errors keep their traceback.

Nothing but Python's own modules, and what listens for interrupts, is imported before `main` has begun, so that a user
who thinks better of it at once is answered as later: what the command line needs takes a third of a second to import.
"""

import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from chiasm.core.interruption import listen, require_uninterrupted

if TYPE_CHECKING:
    from rich.console import Console
    from rich.panel import Panel

    from chiasm.core.errors import ChiasmError


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave with 0, 1 (something is broken), 2 (a mistake in what was asked) or 130.

    With `--json` a mistake is one object on standard output as well.
    """
    typed = list(sys.argv[1:] if arguments is None else arguments)
    try:
        _open_standard_files()
        # transformers' advice is for people who write code with it; ours is in our own words.
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        listen()
        code = _run(typed)
        require_uninterrupted()
    except KeyboardInterrupt as stop:
        notes = vars(stop).get("__notes__") or ("Interrupted.",)
        _say("\n".join(("", *notes)))
        code = _as_object(typed, "it was interrupted", " ".join(notes), 130)
    sys.exit(code)


def _run(typed: list[str]) -> int:
    """What the words ask for, and the exit code."""
    from cyclopts.exceptions import CycloptsError

    from chiasm.cli.application import application
    from chiasm.cli.former import in_todays_words
    from chiasm.cli.mistakes import mistake_of
    from chiasm.cli.verbs import logging_to_terminal
    from chiasm.core.errors import ChiasmError

    try:
        words = in_todays_words(list(typed))
        _require_out(words)
        with logging_to_terminal():
            app = application(words, every="--help-all" in words)
            code = app(
                words,
                exit_on_error=False,
                console=_console(words),
                error_formatter=lambda error: _panel(mistake_of(error, words)),
            )
        sys.stdout.flush()
    except ChiasmError as error:
        _say(f"chiasm: {error}")
        return _failed(error, typed, 2)
    except CycloptsError as error:  # printed by the library
        return _failed(mistake_of(error, typed), typed, 2)
    except BrokenPipeError:
        # Whoever read the output has read enough, as `head` does.
        _drop_output()
        return 141
    except OSError as error:
        # A disk, a folder, a terminal: nothing that a traceback through this program would explain.
        if error.errno is None:
            raise
        from chiasm.core.text import printable

        where = printable(f"`{error.filename}`" if error.filename else "a file, or standard output,")
        found = f"{where} cannot be used: {error.strerror}"
        _say(f"chiasm: {found}. {_after_disk(typed)}")
        _drop_output()
        return _as_object(typed, found, _after_disk(typed), 2)
    return code or 0


def _after_disk(typed: Sequence[str]) -> str:
    """What to do once a disk, a folder or a terminal cannot be used."""
    from chiasm.studies.study import is_study

    if any(map(is_study, typed[:1])):
        return "Finished parts of a run are kept: --resume"
    return "Give the command again where there is room"


def _require_out(words: Sequence[str]) -> None:
    """Refuse an empty folder, as of a variable that is not set: a path made of nothing is the current folder.

    **Errors:** `ChiasmError`.
    """
    from chiasm.core.errors import ChiasmError

    if "--out=" in words or ("--out", "") in pairwise(words):
        raise ChiasmError("--out ''", "it is empty", "Name a new folder, or leave it out")


def _as_object(typed: Sequence[str], found: str, todo: str, code: int) -> int:
    """The exit code; with `--json` what ended the command is printed for programs, as far as anything can be."""
    if "--json" not in typed:
        return code
    from chiasm.core.errors import ChiasmError

    return _failed(ChiasmError(" ".join(("chiasm", *typed)), found, todo), typed, code)


def _failed(error: "ChiasmError", typed: Sequence[str], code: int) -> int:
    """The exit code; with `--json` the error is printed for programs first."""
    if "--json" in typed:
        from chiasm.cli.output import print_error

        try:
            print_error(error)
            sys.stdout.flush()
        except OSError:
            _drop_output()
    return code


def _console(words: Sequence[str]) -> "Console | None":
    """What help is printed on; None where none was asked for, as it takes time to import."""
    from chiasm.cli.application import HELP_FLAGS

    if words and not {*HELP_FLAGS, "--version"}.intersection(words):
        return None
    from chiasm.cli.console import Output

    return Output()


def _panel(mistake: "ChiasmError") -> "Panel":
    """A mistake in what was typed, as the library frames it; what was typed stands right above."""
    from cyclopts import CycloptsPanel

    return CycloptsPanel(f"{mistake.found}. {mistake.todo}")


def _open_standard_files() -> None:
    """Standard files that were closed are opened on nothing: the next file opened would take their place."""
    for handle in range(3):
        try:
            os.fstat(handle)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 (for the life of the process)
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115


def _say(text: str) -> None:
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:  # nobody can be told, and the exit code still says it
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


def _drop_output() -> None:
    """What is left to be written on standard output must not fail again on the way out."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
